"""A failing scenario shrinks to the faults that matter (F6)."""

import pytest
from support.toy_stage import played, scenario

from forebay.scenarios.replay.plan import pinned
from forebay.scenarios.replay.reading import scenario_from
from forebay.scenarios.replay.shrink import shrink, sought
from forebay.scenarios.replay.writing import plain_scenario
from forebay.scenarios.streams import Streams


def swarm():
    kinds = [("a", 6), ("b", 6), ("c", 6), ("a | b", 3), ("b | c", 3)]
    faults = [
        {"id": f"f{n}", "do": "host.kill", "host": host, "at": "0s..35s", "lasts": "2s..12s", "times": times}
        for n, (host, times) in enumerate(kinds)
    ]
    return scenario(faults=faults, workload=[{"count": 200, "over": 30, "takes": "1ms..2s", "fails": "0%..30%"}])


def fails(candidate, seed):
    return any(one.name == "nothing-lost" for one in played(candidate, seed, bug=True)[1])


@pytest.fixture(scope="module")
def failing():
    toy = swarm()
    return toy, next(seed for seed in range(50) if fails(toy, seed))


def test_what_a_seed_drew_can_be_written_out_and_does_the_same(failing):
    toy, seed = failing
    fixed = pinned(toy, Streams(seed).stream)
    assert [s[0] for s in played(fixed, seed)[0].strokes] == [s[0] for s in played(toy, seed)[0].strokes]
    assert played(fixed, seed + 1)[0].strokes == played(fixed, seed)[0].strokes


def test_what_is_written_out_has_ids_of_its_own_that_may_be_read():
    long = "k" * 80
    faults = [
        {"id": id_, "do": "host.kill", "host": "a", "at": "0s..9s", "times": n}
        for id_, n in (("k", 2), ("k-1", 1), (long, 2))
    ]
    fixed = pinned(scenario(faults=faults), Streams(1).stream)
    assert [fault.id for fault in fixed.faults] == ["k-2", "k-3", "k-1", f"{long[:74]}-1", f"{long[:74]}-2"]
    assert scenario_from(plain_scenario(fixed)) == fixed


def test_two_faults_of_many_are_left_with_round_times_and_few_jobs(failing):
    toy, seed = failing
    left = shrink(toy, seed, Streams(seed).stream, fails)
    assert fails(left.scenario, left.seed)
    assert len(left.scenario.faults) == 2
    hosts = {fault.args["host"].value for fault in left.scenario.faults}
    assert hosts == {"a", "b"}
    assert sum(post.count for post in left.scenario.workload) <= 50
    assert left.runs <= 200
    assert scenario_from(plain_scenario(left.scenario)) == left.scenario


def test_the_time_to_recover_is_not_looked_for_where_something_else_is_broken():
    both = frozenset({"expect recovery", "always one-writer"})
    assert sought(both) == {"always one-writer"}
    assert sought(both - {"always one-writer"}) == {"expect recovery"}


def test_it_stops_at_its_number_of_runs(failing):
    toy, seed = failing
    left = shrink(toy, seed, Streams(seed).stream, fails, runs=5)
    assert left.runs == 5
    assert fails(left.scenario, left.seed)
