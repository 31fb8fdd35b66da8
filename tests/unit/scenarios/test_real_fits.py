"""What real servers do not have is refused before anything starts, by the line of the file (F2, O5)."""

import pytest
from support.sources import ROOT

from forebay.config import ConfigError
from forebay.scenarios.real.fits import check_fits
from forebay.scenarios.real.fleet_of import settings_of
from forebay.scenarios.real.site import brokers_for, guests_of
from forebay.scenarios.real.verbs import REAL_VERBS
from forebay.scenarios.replay.library import library
from forebay.scenarios.replay.reading import load_scenario
from forebay.scenarios.replay.verbs import VERBS

TEXT = """\
format: forebay-scenario/1
name: tiny
about: Little happens.
invariants: {eventually: [lag-zero]}
topology:
  log: {url: "kafka://simulated:9092"}
  coordination: {url: "consul://simulated:8500"}
  queues:
    main: {url: "redis://one:6379"}
    second: {url: "redis://two:6379"}
    again: {url: "redis://one:6379"}
  topics: [{name: jobs, partitions: 1}]
  workers: {slots: 3}
workload:
  - {count: 5, over: 1s}
faults:
  - {id: kill, do: host.kill, host: a, at: 1s, lasts: 1s}
  - {id: fail, do: redis.failover, queue: again, lost: 3, at: 1s}
"""


@pytest.fixture
def checked(tmp_path):
    def check(text):
        path = tmp_path / "tiny.yaml"
        path.write_text(text)
        check_fits(load_scenario(path), path)

    return check


def test_what_real_servers_can_do_is_let_through(checked):
    checked(TEXT)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "host.kill, host: a,",
            "host.skew, host: a, by: 5,",
            "17: faults[0].do: found host.skew, which only the simulation",
        ),
        (
            "[lag-zero]",
            "[lag-zero, clean-stop]",
            "4: invariants.eventually[1]: found clean-stop, which only the simulation can check; run it with --on sim",
        ),
        (
            "{eventually: [lag-zero]}",
            "{eventually: [lag-zero], never: [memory-full]}",
            "4: invariants.never[0]: found memory-full, which only the simulation can check; run it with --on sim",
        ),
        ("queue: again,", "queue: second,", "18: faults[1].queue: found a queue whose Redis has no replica; name main, or"),
        ("queue: again,", "queue: main | again,", "18: faults[1].queue: found a queue whose Redis has no replica"),
        ('one:6379"}\n  topics', 'three:6379"}\n  topics', "9: topology.queues: found 3 Redis servers; use at most 2"),
        ("host.kill, host: a,", "kafka.kill,", "19: kafka: found 7 brokers in 3 zones; use at most 6 brokers in 3"),
        ("over: 1s}", "over: 1s, acks: all}", "19: kafka: found 7 brokers in 3 zones; use at most 6 brokers in 3"),
    ],
)
def test_what_they_cannot_do_is_refused_with_its_line(checked, old, new, told):
    with pytest.raises(ConfigError) as refused:
        checked((TEXT + "kafka: {brokers: 7}\n").replace(old, new))
    assert f"tiny.yaml:{told}" in str(refused.value)
    assert "--on sim" in str(refused.value)


def test_brokers_that_no_fault_is_about_may_be_as_many_as_they_like(checked):
    checked(TEXT + "kafka: {brokers: 99, zones: 9}\n")


def test_there_are_several_brokers_only_where_a_fault_is_about_them():
    named = {name: brokers_for(load_scenario(library()[name])) for name in ("worker-killed", "broker-killed", "zone-killed")}
    assert named == {"worker-killed": 1, "broker-killed": 3, "zone-killed": 6}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("over: 1s}", "over: 1s, acks: all}"),
        ("partitions: 1}", "partitions: 1, replication: 3, min_insync: 2, acks: all}"),
    ],
)
def test_there_are_several_where_a_post_or_a_topic_asks_for_the_acks_of_all(tmp_path, old, new):
    path = tmp_path / "tiny.yaml"
    path.write_text(TEXT.replace(old, new))
    assert brokers_for(load_scenario(path)) == 3


def test_hosts_have_ways_of_their_own_to_the_brokers_only_where_a_fault_is_about_them():
    named = {
        name: guests_of(load_scenario(library()[name])) for name in ("worker-killed", "broker-killed", "log-partitioned")
    }
    assert named == {"worker-killed": (), "broker-killed": (), "log-partitioned": ("a", "b")}


def test_of_the_library_only_what_the_guide_names_needs_the_simulation():
    refused = set()
    for name, path in library().items():
        try:
            check_fits(load_scenario(path), path)
        except ConfigError:
            refused.add(name)
    table = (ROOT / "docs" / "scenarios.md").read_text().partition("## On real servers")[2]
    assert refused == {name for name in library() if f"| `{name}` | not: " in table}


def test_every_real_verb_is_a_verb_and_is_undone_where_the_simulation_undoes_it():
    assert {name: verb.end is None for name, verb in REAL_VERBS.items()} == {
        name: VERBS[name].end is None for name in REAL_VERBS
    }


def test_members_have_the_topology_with_doors_on_free_ports_and_the_scenarios_handlers(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TEXT)
    settings = settings_of(load_scenario(path).topology)
    assert settings == {
        "topics": [{"name": "jobs", "partitions": 1}],
        "gate": {"port": 0},
        "console": {"port": 0},
        "workers": {"slots": 3, "handlers": ["forebay.scenarios.real.handlers"]},
    }
