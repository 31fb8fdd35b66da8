"""Scenarios on real Kafka, Redis and Consul: the same files, the same verdicts (F2, F3, F4)."""

import json

import pytest
from support.kafka_sites import remove
from support.services import require
from support.verification import ON_REAL

from forebay.actors.relay.snapshots import settled_topic
from forebay.config import ConfigError
from forebay.jobs.lanes import ends_topic, retry_topic
from forebay.scenarios.real.fits import check_fits
from forebay.scenarios.real.runner import play_real, run_real
from forebay.scenarios.real.site import Site
from forebay.scenarios.replay.folder import save
from forebay.scenarios.replay.library import library
from forebay.scenarios.replay.reading import load_scenario, scenario_from
from forebay.scenarios.servers import KINDS

KEPT = {"scenario.yaml", "verdict.json", "tape.jsonl", "trace.jsonl", "tree.json", "report.html", "REPRODUCE.txt"}
EVERYTHING = {
    "always": ["one-writer", "bytes-kept", "mailboxes-bounded", "no-zombie"],
    "eventually": ["nothing-lost", "lag-zero", "tree-all-running", "duplicates-explained"],
    "never": ["escalated", "actor-parked"],
}


def brief(topic, *faults, sometimes=(), acks="leader", **workload):
    """Some seconds of what the library has in minutes, on a topic of its own."""
    return scenario_from(
        {
            "format": "forebay-scenario/1",
            "name": topic,
            "about": "A brief one.",
            "topology": {
                "log": {"url": "kafka://simulated:9092"},
                "coordination": {"url": "consul://simulated:8500"},
                "queues": {"main": {"url": "redis://simulated:6379"}},
                "topics": [{"name": topic, "partitions": 2, "rate": "1000/s", "acks": acks}],
                "workers": {"slots": 20, "lease": "3s", "drain": "2s"},
                "lock": {"ttl": "3s", "lock_delay": "1s"},
            },
            "kafka": {"brokers": 4},
            "workload": [{"count": 120, "over": 7, "takes": "5ms..300ms", "acks": acks, **workload}],
            "faults": list(faults),
            "phases": {"chaos": 9, "converge": 90},
            "invariants": {**EVERYTHING, "sometimes": list(sometimes)},
            "expect": {"counts": {"faults": {"least": len(faults)}, "accepted": {"least": 60}}},
        }
    )


@pytest.fixture
async def play(tmp_path, kafka_cluster, redis_servers, consul_server):
    """Play a scenario on the servers of the whole run; what it wrote to them is removed again."""
    made = set()

    async def play(scenario):
        made.update(topic.name for topic in scenario.topology.topics)
        site = Site(redis_servers, consul_server, kafka_cluster)
        told = await play_real(scenario, 1, site, tmp_path)
        assert told.verdict.passed, str(told.verdict)
        return told

    yield play
    async with redis_servers.main.client() as client:
        await client.flushall()
    await remove(
        kafka_cluster,
        {name for topic in made for name in (topic, retry_topic(topic), settled_topic(topic), ends_topic(topic))},
    )


@pytest.mark.slow
async def test_a_broker_that_is_killed_loses_nothing_and_the_verdict_has_the_form_of_the_simulations(play, tmp_path):
    kill = {"id": "kill", "do": "kafka.broker.kill", "broker": 1, "at": "2s", "lasts": "4s"}
    scenario = brief("real-broker", kill, acks="all")
    told = await play(scenario)
    save(tmp_path / "kept", scenario, told)
    verdict = json.loads((tmp_path / "kept" / "verdict.json").read_text())
    assert (verdict["on"], verdict["digest"], verdict["passed"]) == ("real", None, True)
    assert [(bite["id"], bite["bit"]) for bite in verdict["bites"]] == [("kill", True)]
    assert verdict["counts"]["accepted"] == len(told.seen.accepted)
    assert {path.name for path in (tmp_path / "kept").iterdir()} == KEPT
    assert "--on real --seed 1" in (tmp_path / "kept" / "REPRODUCE.txt").read_text()


@pytest.mark.slow
async def test_a_redis_that_fills_up_makes_the_relay_wait_and_nobody_is_refused(play):
    memory = {"id": "memory", "do": "redis.limit", "queue": "main", "memory": "256KiB", "at": "0s"}
    slow = {"id": "slow", "do": "jobs.slow", "by": "20s", "at": "0s", "lasts": "8s"}
    told = await play(brief("real-full", memory, slow, sometimes=["queue-filling"], size="8KiB"))
    full = [moment for moment in told.seen.moments if moment.used]
    assert max(moment.used["main"] for moment in full) > 0.85
    assert max(sum(moment.lag.values()) for moment in full) > 20
    assert told.verdict.counts["refused"] == 0


@pytest.mark.slow
async def test_a_lock_that_is_lost_gives_a_new_term_and_no_write_of_the_old_one_goes_through(play):
    lose = {"id": "lose", "do": "consul.lock.free", "topic": "real-lock", "at": "2s"}
    told = await play(brief("real-lock", lose, sometimes=["another-term"]))
    tokens = [write.token for write in told.seen.writes]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 2
    assert {write.host for write in told.seen.writes} <= {"a", "b"}


def runs_on_real_servers(name):
    try:
        check_fits(load_scenario(library()[name]), library()[name])
    except ConfigError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in library() if runs_on_real_servers(name)])
def test_the_library_holds_on_real_servers(name, record_figure):
    for kind in KINDS:
        require(kind)
    told = run_real(load_scenario(library()[name]), 1, print)
    record_figure(f"{ON_REAL}{name}", told.verdict.seconds, "passed" if told.verdict.passed else "FAILED")
    assert told.verdict.passed, str(told.verdict)
