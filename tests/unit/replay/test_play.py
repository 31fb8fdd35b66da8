"""A scenario is played as its file says (F1)."""

import pytest
from support.toy_stage import played, scenario


def down(id_, host, **more):
    return {"id": id_, "do": "host.kill", "host": host, **more}


def test_faults_begin_and_end_at_their_times_and_the_rest_is_undone_when_the_chaos_is_over():
    stage, broken = played(scenario(faults=[down("one", "a", at="5s", lasts="8s"), down("two", "b", at="20s")]))
    assert stage.strokes == [(5.0, "one", True), (13.0, "one", False), (20.0, "two", True), (40.0, "two", False)]
    assert broken == []
    assert [(bite.at, bite.until, bite.bit) for bite in stage.seen.bites] == [(5.0, 13.0, True), (20.0, 40.0, True)]
    assert stage.seen.healed == 40.0


def test_what_a_fault_waits_for_is_undone_when_the_chaos_is_over():
    """A host that stands still stops only once it may go on."""
    restart = {"id": "deploy", "do": "host.restart", "host": "a", "at": 20}
    stage, broken = played(scenario(faults=[down("a", "a", at=15), restart]))
    assert broken == []
    assert [(id_, begins) for _, id_, begins in stage.strokes] == [("a", True), ("a", False), ("deploy", True)]


def test_what_two_faults_hold_down_is_up_again_when_the_last_of_them_ends():
    stage, _ = played(scenario(faults=[down("one", "a", at="5s", lasts="10s"), down("two", "a", at="10s", lasts="10s")]))
    assert stage.strokes == [(5.0, "one", True), (10.0, "two", True), (20.0, "two", False)]
    assert [bite.bit for bite in stage.seen.bites] == [True, False]


def test_a_host_that_was_stopped_while_it_was_dead_starts_when_both_are_over():
    stop = {"id": "stop", "do": "host.stop", "host": "a", "at": "10s", "lasts": "1s"}
    stage, _ = played(scenario(faults=[down("kill", "a", at="5s", lasts="10s"), stop]))
    assert stage.strokes == [(5.0, "kill", True), (10.0, "stop", True), (15.0, "kill", False)]


def test_of_two_that_hold_the_same_thing_in_their_own_measures_the_newest_in_force_rules():
    """A short one that ends does not end the long one."""
    long = {"id": "long", "do": "host.skew", "host": "a", "by": 300, "at": "1s", "lasts": "29s"}
    short = {"id": "short", "do": "host.skew", "host": "a", "by": 5, "at": "2s", "lasts": "1s"}
    stage, _ = played(scenario(faults=[long, short]))
    assert stage.strokes == [(1.0, "long", True), (2.0, "short", True), (3.0, "long", True), (30.0, "long", False)]


def test_a_fault_waits_for_the_nth_event_of_its_kind():
    when = {"event": "Noted", "name": "posted", "path": "/x*", "nth": 3}
    stage, _ = played(scenario(faults=[down("late", "a", when=when, after="2s", lasts="1s")]))
    third = sorted(accepted.at for accepted in stage.seen.accepted.values())[2]
    assert stage.strokes[0][0] == pytest.approx(third + 2, abs=0.02)


def test_a_fault_whose_event_never_comes_does_not_happen_and_holds_nobody_up():
    stage, broken = played(scenario(faults=[down("never", "a", when={"event": "Zombie"})]))
    assert (stage.strokes, broken) == ([], [])
    assert stage.seen.missed == ["never"]


def test_a_sighting_that_never_came_fails_the_run():
    _, broken = played(scenario(invariants={"sometimes": ["actor-restarted"]}))
    assert [(one.group, one.name) for one in broken] == [("sometimes", "actor-restarted")]


def test_a_job_that_is_lost_fails_the_run_and_is_named():
    toy = scenario(faults=[down("one", "a", at="5s", lasts="20s"), down("two", "b", at="5s", lasts="20s")])
    stage, broken = played(toy, bug=True)
    lost = stage.seen.unended()
    assert lost
    assert [(one.group, one.name) for one in broken] == [("eventually", "nothing-lost")]
    assert lost[0] in broken[0].what


def test_what_fails_in_the_chaos_alone_is_told_once_with_its_first_time():
    toy = scenario(faults=[down("one", "a", at="5500ms", lasts="8s")], invariants={"always": ["tree-all-running"]})
    _, broken = played(toy)
    assert [(one.group, one.name, one.at) for one in broken] == [("always", "tree-all-running", 6.0)]


def test_counts_out_of_their_bounds_and_a_slow_recovery_fail_the_run():
    expect = {"counts": {"accepted": {"least": 41}, "refused": {"most": 0}}, "recovery": "5s"}
    _, broken = played(scenario(expect=expect))
    assert [(one.group, one.name) for one in broken] == [("expect", "accepted")]


def test_a_seed_draws_the_same_faults_again_and_another_seed_others():
    fault = down("one", "a | b | c", at="0s..30s", lasts="1s..5s", chance="10%..90%", times="0..4")
    toy = scenario(faults=[fault])
    runs = [played(toy, seed)[0].strokes for seed in (1, 1, 2, 3, 4, 5)]
    assert runs[0] == runs[1]
    assert len({tuple(strokes) for strokes in runs}) > 2


def test_taking_a_fault_out_leaves_the_others_as_they_were():
    one, two = down("one", "a", at="0s..30s"), down("two", "b", at="0s..30s", lasts="1s..5s")
    with_one, _ = played(scenario(faults=[one, two]), seed=7)
    without, _ = played(scenario(faults=[two]), seed=7)
    assert [stroke for stroke in with_one.strokes if stroke[1] == "two"] == without.strokes
