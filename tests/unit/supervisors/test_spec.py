"""What makes no sense is refused before anything starts: rule R12 of docs/semantics.md."""

import pytest
from support.puppets import puppet, running, virtual

from forebay import AutoShutdown, Backoff, ChildSpec, Exhausted, Intensity, Limits, Restart, Strategy, SupervisorSpec
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import InvalidTree, check_child, check_tree, join

ANY = AutoShutdown.ANY_SIGNIFICANT
NESTED = ChildSpec("outer", SupervisorSpec(children=(puppet(""),)))


@pytest.mark.parametrize(
    ("spec", "begins"),
    [
        (SupervisorSpec(children=(puppet("a"), puppet("b"), puppet("a"))), "/: two children have the id 'a'"),
        (SupervisorSpec(children=(puppet(""),)), "/: an id is not empty"),
        (SupervisorSpec(children=(puppet("a/b"),)), "/a/b: an id is not empty and has no '/'"),
        (SupervisorSpec(children=(NESTED,)), "/outer/: an id is not empty"),
        (
            SupervisorSpec(children=(puppet("a", significant=True),), auto_shutdown=ANY),
            "/a: a permanent child is always restarted, so it cannot be significant",
        ),
        (
            SupervisorSpec(children=(puppet("a", significant=True, restart=Restart.TRANSIENT),)),
            "/a: a significant child needs auto_shutdown",
        ),
        (
            SupervisorSpec(strategy=Strategy.ONE_FOR_ALL, exhausted=Exhausted.PARK),
            "/: 'park' would leave half of a one_for_all group running",
        ),
        (
            SupervisorSpec(strategy=Strategy.REST_FOR_ONE, exhausted=Exhausted.PARK),
            "/: 'park' would leave half of a rest_for_one group running",
        ),
        (SupervisorSpec(cool_off=5.0), "/: cool_off is for parked children only"),
        (SupervisorSpec(max_children=5), "/: max_children bounds a dynamic supervisor only"),
        (
            SupervisorSpec(intensity=Intensity(3, 1.0), backoff=Backoff(0.4, 30.0)),
            "/: backoff is so slow that 3 restarts can never fall into 1 s",
        ),
    ],
)
def test_a_contradiction_is_refused_with_its_path(spec, begins):
    """R12."""
    with pytest.raises(InvalidTree) as refusal:
        check_tree(spec)
    assert len(refusal.value.problems) == 1
    assert refusal.value.problems[0].startswith(begins)


@pytest.mark.parametrize(
    "spec",
    [
        SupervisorSpec(),
        SupervisorSpec(children=(puppet("a", significant=True, restart=Restart.TRANSIENT),), auto_shutdown=ANY),
        SupervisorSpec(children=(puppet("a", significant=True, restart=Restart.TEMPORARY),), auto_shutdown=ANY),
        SupervisorSpec(exhausted=Exhausted.PARK, cool_off=5.0),
        SupervisorSpec(strategy=Strategy.DYNAMIC, exhausted=Exhausted.PARK),
        SupervisorSpec(strategy=Strategy.DYNAMIC, max_children=1),
        # the waits after incidents 2 and 3 are at most 0.4 s and 0.6 s: just in time
        SupervisorSpec(intensity=Intensity(3, 1.0), backoff=Backoff(0.4, 0.6)),
        SupervisorSpec(intensity=Intensity(4, 0.75), backoff=Backoff(0.1, 30.0)),  # 0.1 s, 0.2 s and 0.4 s
        SupervisorSpec(intensity=Intensity(1, 0.001), backoff=Backoff(10.0, 10.0)),
        SupervisorSpec(intensity=Intensity(0, 0.001), backoff=Backoff(10.0, 10.0)),
    ],
)
def test_what_makes_sense_is_taken(spec):
    """R12: the refusals stop where they should."""
    check_tree(spec)


def test_every_problem_is_named_at_once():
    """R12."""
    inner = SupervisorSpec(max_children=1, cool_off=1.0)
    with pytest.raises(InvalidTree) as refusal:
        check_tree(SupervisorSpec(children=(puppet(""), ChildSpec("b", inner))))
    assert [problem.partition(": ")[0] for problem in refusal.value.problems] == ["/", "/b", "/b"]
    assert str(refusal.value) == "\n".join(refusal.value.problems)


def test_a_tree_that_cannot_stop_within_the_deadline_is_refused_and_the_slowest_child_named():
    """R12: children stop one after the other, those of a dynamic supervisor at once; each may take its grace."""
    slow, quick = puppet("slow", limits=Limits(shutdown=4.0)), puppet("quick", limits=Limits(shutdown=1.0))
    in_turn = SupervisorSpec(children=(slow, quick))
    at_once = SupervisorSpec(strategy=Strategy.DYNAMIC, children=(slow, quick))
    assert (in_turn.stop_time, at_once.stop_time) == (5.0, 4.0)
    assert SupervisorSpec(children=(ChildSpec("in_turn", in_turn), quick)).stop_time == 6.0
    assert SupervisorSpec(children=(ChildSpec("at_once", at_once), quick)).stop_time == 5.0
    assert SupervisorSpec(strategy=Strategy.DYNAMIC).stop_time == 0.0
    check_tree(in_turn, deadline=5.0)
    check_tree(at_once, deadline=4.0)
    with pytest.raises(InvalidTree, match=r"^/: an orderly stop may take 5 s .* 4.9 s; most of it is slow with 4 s"):
        check_tree(in_turn, deadline=4.9)
    with pytest.raises(InvalidTree):
        Runtime(in_turn, deadline=4.9)


def test_what_is_added_later_is_counted_and_checked_at_build_time_and_not_started():
    """R12, S5."""
    now, later = puppet("now", limits=Limits(shutdown=1.0)), puppet("later", limits=Limits(shutdown=4.0))
    spec = SupervisorSpec(children=(now,), later=[later])
    check_tree(spec, deadline=5.0)
    with pytest.raises(InvalidTree, match=r"may take 5 s .* 4.9 s; most of it is later with 4 s"):
        check_tree(spec, deadline=4.9)
    with pytest.raises(InvalidTree, match="two children have the id 'now'"):
        check_tree(SupervisorSpec(children=(now,), later=(now,)))
    with pytest.raises(InvalidTree, match="/: an id is not empty"):
        check_tree(SupervisorSpec(later=(puppet(""),)))


@virtual
async def test_what_is_added_later_is_not_started_with_the_others():
    """S1."""
    async with running(puppet("now"), later=(puppet("later"),)) as runtime:
        assert [child.path for child in runtime.tree().children] == ["/now"]


def test_a_child_is_checked_against_the_supervisor_it_would_stand_under():
    """R12, R13."""
    with pytest.raises(InvalidTree, match="/p/a: a significant child needs auto_shutdown"):
        check_child(SupervisorSpec(), puppet("a", significant=True, restart=Restart.TRANSIENT), "/p/a")
    check_child(SupervisorSpec(), puppet("a"), "/p/a")


@virtual
async def test_a_child_that_makes_no_sense_is_refused_at_run_time():
    """R12, R13: nothing was added."""
    async with running() as runtime:
        with pytest.raises(InvalidTree):
            await runtime.supervisor().start_child(puppet("a/b"))
        assert runtime.tree().children == ()


def test_paths_are_joined_with_one_slash():
    assert join("/", "a") == "/a"
    assert join("/a", "b") == "/a/b"
