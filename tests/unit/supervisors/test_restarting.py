"""Restarts, budgets and escalation, one example per sentence: rules R2 to R11 of docs/semantics.md.

The machine (property/test_supervisor_machine.py) holds the same rules over random trees; these are to be read.
"""

import asyncio

import pytest
from support.puppets import boom, puppet, recorded, running, settled, virtual

from forebay import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    EnvironmentExit,
    Escalated,
    Exhausted,
    Exited,
    Incident,
    Intensity,
    Parked,
    Restart,
    RestartScheduled,
    Runtime,
    Started,
    StartFailed,
    State,
    Strategy,
    SupervisorSpec,
)
from forebay.supervisors.requests import ChildStartFailed, RestartsExhausted
from forebay.supervisors.runtime import RuntimeFailed, RuntimeStartFailed
from forebay.testing import crash, until_event, virtual_runtime

ALL, REST, DYNAMIC = Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE, Strategy.DYNAMIC
OFTEN = Intensity(100, 100_000.0)


def now():
    return asyncio.get_running_loop().time()


def story(events):
    return [f"{type(event).__name__} {event.path}#{event.incarnation}" for event in events]


def states(runtime):
    return {node.path: node.state.value for node in runtime.tree().walk() if node.path != "/"}


class Failing:
    """A start that fails the given times, with the given error, and then succeeds."""

    def __init__(self, times, error=ValueError):
        self.times, self.error, self.tried = times, error, []

    def __call__(self, ctx):
        self.tried.append(now())
        if len(self.tried) <= self.times:
            raise self.error("not yet")


# ---------------------------------------------------------------------------------------------- R2, R3, R4


@virtual
async def test_a_permanent_child_is_restarted_a_transient_one_only_after_a_failure_a_temporary_one_never():
    """R2."""
    kinds = {kind.value: kind for kind in Restart}
    async with running(*(puppet(name, restart=kind) for name, kind in kinds.items()), intensity=OFTEN) as runtime:
        for name in kinds:
            runtime.ref(f"/{name}").tell(lambda ctx: ctx.stop())
        await asyncio.sleep(1)
        assert states(runtime) == {"/permanent": "running", "/transient": "stopped"}
        await runtime.supervisor().restart_child("transient")
        await crash(runtime, "/transient")
        await asyncio.sleep(1)
        assert states(runtime)["/transient"] == "running"


@virtual
async def test_a_temporary_child_that_a_siblings_end_took_down_is_gone():
    """R2."""
    async with running(puppet("a"), puppet("b", restart=Restart.TEMPORARY), strategy=ALL) as runtime:
        await crash(runtime, "/a")
        await settled(runtime)
        assert states(runtime) == {"/a": "running"}


@virtual
async def test_a_group_stops_in_reverse_and_starts_in_order():
    """R3."""
    children = [puppet(name) for name in "abcd"]
    for strategy, group in ((ALL, "abcd"), (REST, "bcd"), (Strategy.ONE_FOR_ONE, "b"), (DYNAMIC, "b")):
        async with running(*children, strategy=strategy) as runtime:
            events = recorded(runtime, Exited, Started, Incident)
            await crash(runtime, "/b")
            await settled(runtime, f"/{group[-1]}")
            others = [name for name in reversed(group) if name != "b"]
            stops = [f"Exited /{name}#1" for name in others]
            assert story(events) == ["Exited /b#1", "Incident /#1", *stops, *(f"Started /{name}#2" for name in group)]
            assert events[1].restarting == tuple(group)


@virtual
async def test_a_group_restart_also_starts_what_had_ended_or_been_terminated():
    """R3, as in OTP."""
    async with running(puppet("a"), puppet("b", restart=Restart.TRANSIENT), puppet("c"), strategy=ALL) as runtime:
        runtime.ref("/b").tell(lambda ctx: ctx.stop())
        await runtime.supervisor().terminate_child("c")
        assert states(runtime) == {"/a": "running", "/b": "stopped", "/c": "stopped"}
        await crash(runtime, "/a")
        await settled(runtime, "/c")
        assert states(runtime) == {"/a": "running", "/b": "running", "/c": "running"}


@virtual
async def test_a_restart_makes_a_new_object_and_the_next_incarnation():
    """R4."""
    made = []
    spec = puppet("a")
    async with running(ChildSpec("a", lambda: made.append(spec.start()) or made[-1])) as runtime:
        await crash(runtime, "/a")
        await settled(runtime)
        assert len(made) == 2
        assert made[0] is not made[1]
        assert runtime.tree().find("/a").incarnation == 2


@virtual
async def test_the_end_of_a_sibling_cuts_a_start_short_that_it_makes_pointless():
    """R3: `b` would start for ten seconds, and be restarted with `a` anyway."""
    slow = puppet("b", start=lambda ctx: asyncio.sleep(10 if ctx.incarnation == 1 else 0))
    tree = SupervisorSpec(strategy=ALL, children=(puppet("a"), slow, puppet("c")))
    runtime = virtual_runtime(tree)
    events = recorded(runtime, Started, StartFailed, Exited)
    starting = asyncio.create_task(runtime.start())
    await asyncio.sleep(1)
    await crash(runtime, "/a")
    await starting
    await settled(runtime, "/c")
    assert story(events) == [
        "Started /a#1", "Exited /a#1", "StartFailed /b#1", "Started /a#2", "Started /b#2", "Started /c#1",
    ]  # fmt: skip
    await runtime.stop()


# ---------------------------------------------------------------------------------------------- R5, R6, R7


@virtual
async def test_incidents_within_the_period_escalate_when_they_are_more_than_the_budget():
    """R5: the window is closed at both ends, and counts a whole group once."""
    children = (puppet("a"), puppet("b"), puppet("c"))
    for strategy in (Strategy.ONE_FOR_ONE, ALL):
        async with running(*children, strategy=strategy, intensity=Intensity(2, 10.0), stable_after=0.5) as runtime:
            start = now()
            for second in (0, 4, 10.5, 14.5):
                await asyncio.sleep(start + second - now())
                await crash(runtime, "/a")
            await settled(runtime)
        runtime = virtual_runtime(SupervisorSpec(strategy, children, Intensity(2, 10.0), stable_after=0.5))
        await runtime.start()
        start = now()
        for second in (0, 4, 10):
            await asyncio.sleep(start + second - now())
            await crash(runtime, "/a")
        with pytest.raises(RuntimeFailed):
            await runtime.wait()
        await runtime.stop()


@virtual
async def test_each_failed_attempt_to_start_again_is_one_incident_more():
    """R5."""
    start = Failing(0)
    runtime = virtual_runtime(SupervisorSpec(children=(puppet("a", start=start),), intensity=Intensity(3, 1000.0)))
    await runtime.start()
    start.times = 100
    incidents = recorded(runtime, Incident)
    runtime.ref("/a").tell(boom)
    with pytest.raises(RuntimeFailed):
        await runtime.wait()
    assert len(incidents) == 4  # the end, and three starts
    await runtime.stop()


@virtual
async def test_what_the_environment_causes_is_never_counted_and_retried_for_ever():
    """R6."""
    start = Failing(60, EnvironmentExit)
    async with running(puppet("a", start=start), intensity=Intensity(0, 1.0), backoff=Backoff(0.1, 2.0)) as runtime:
        incidents = recorded(runtime, Incident)
        await until_event(runtime, lambda event: isinstance(event, Started), timeout=1000)
        assert len(start.tried) == 61
        await crash(runtime, "/a", EnvironmentExit("again"))
        await settled(runtime)
        assert len(incidents) >= 60
        assert all(incident.environment for incident in incidents)


@virtual
async def test_the_first_restart_is_immediate_and_further_ones_back_off_with_full_jitter():
    """R7."""
    start = Failing(9, EnvironmentExit)
    async with running(puppet("a", start=start), backoff=Backoff(1.0, 20.0)) as runtime:
        plans = recorded(runtime, RestartScheduled)
        await until_event(runtime, lambda event: isinstance(event, Started), timeout=1000)
    delays = [0.0, *(plan.delay for plan in plans)]
    assert [later - earlier for earlier, later in zip(start.tried, start.tried[1:], strict=False)] == pytest.approx(delays)
    assert all(0 <= delay <= min(20.0, 2.0**n) for n, delay in enumerate(delays[1:]))
    assert len(set(delays)) == len(delays)
    assert [plan.failures for plan in plans] == list(range(2, 10))


@virtual
async def test_failures_in_a_row_are_forgotten_after_a_stable_run_not_on_a_start():
    """R7."""
    async with running(puppet("a"), intensity=OFTEN, stable_after=10.0, backoff=Backoff(1.0, 1.0)) as runtime:
        plans = recorded(runtime, RestartScheduled)
        for ran in (1.0, 9.9, 10.0, 9.0):
            await asyncio.sleep(ran)
            await crash(runtime, "/a")
            await until_event(runtime, lambda event: isinstance(event, Started))
        assert [plan.failures for plan in plans] == [1, 2, 1, 2]
        assert runtime.tree().find("/a").failures == 2
        await asyncio.sleep(10.0)
        assert runtime.tree().find("/a").failures == 0


@virtual
async def test_time_that_a_child_was_down_is_no_stable_run():
    """R7: `b` ran for a second; that its group then waited for `a` does not make it stable."""
    first, second = Failing(0), Failing(0)
    children = (puppet("a", start=first), puppet("b", start=second))
    async with running(*children, strategy=ALL, intensity=OFTEN, stable_after=10.0, backoff=Backoff(30.0, 30.0)) as runtime:
        plans = recorded(runtime, RestartScheduled)
        await crash(runtime, "/b")
        await settled(runtime, "/b")
        first.times = second.times = 3
        await crash(runtime, "/b")
        await until_event(runtime, lambda event: isinstance(event, Started) and event.path == "/b", timeout=1000)
    assert [plan.failures for plan in plans if plan.path == "/b"] == [1, 2, 3]


# ---------------------------------------------------------------------------------------------- R8


@virtual
async def test_while_a_child_waits_for_its_restart_everything_else_is_served():
    """R8."""
    async with running(puppet("a"), puppet("b"), intensity=OFTEN, backoff=Backoff(100.0, 100.0)) as runtime:
        await crash(runtime, "/a")
        await settled(runtime)
        await crash(runtime, "/a")
        await crash(runtime, "/b")
        await runtime.supervisor().start_child(puppet("c"))
        await settled(runtime, "/b")
        assert states(runtime) == {"/a": "waiting", "/b": "running", "/c": "running"}
        assert 0 < runtime.tree().find("/a").next_restart <= 100
        began = now()
        await runtime.stop()
        assert now() == began


@virtual
async def test_the_rest_of_a_group_waits_for_the_member_that_failed_to_start():
    """R8: and only that member's failure is retried."""
    start = Failing(0)
    async with running(puppet("a"), puppet("b", start=start), puppet("c"), strategy=ALL, intensity=OFTEN) as runtime:
        start.times = 3
        events = recorded(runtime, Started, StartFailed, Exited)
        await crash(runtime, "/a")
        await until_event(runtime, lambda event: isinstance(event, RestartScheduled) and event.path == "/b")
        assert states(runtime) == {"/a": "running", "/b": "waiting", "/c": "waiting"}
        await until_event(runtime, lambda event: isinstance(event, Started) and event.path == "/c")
        assert [line for line in story(events) if "/c" in line] == ["Exited /c#1", "Started /c#2"]
        assert story(events)[-1] == "Started /c#2"
        assert states(runtime) == {"/a": "running", "/b": "running", "/c": "running"}


# ---------------------------------------------------------------------------------------------- R9


@virtual
async def test_a_used_up_budget_stops_the_children_in_order_and_fails_the_supervisor():
    """R9."""
    inner = SupervisorSpec(children=(puppet("a"), puppet("b")), intensity=Intensity(0, 1.0))
    async with running(ChildSpec("inner", inner), puppet("z")) as runtime:
        events = recorded(runtime, Exited, Escalated, Started)
        await crash(runtime, "/inner/a")
        await until_event(runtime, lambda event: isinstance(event, Started) and event.path == "/inner")
        assert story(events) == [
            "Exited /inner/a#1", "Escalated /inner#1", "Exited /inner/b#1", "Exited /inner#1",
            "Started /inner/a#2", "Started /inner/b#2", "Started /inner#2",
        ]  # fmt: skip
        error = events[3].exit.error
        assert isinstance(error, RestartsExhausted)
        assert (error.path, error.child) == ("/inner", "a")
        assert error.exit == events[0].exit


@virtual
async def test_a_parked_child_stays_down_until_it_has_cooled_off_and_spares_its_siblings():
    """R9: each child has a budget to itself."""
    park = {"exhausted": Exhausted.PARK, "cool_off": 30.0, "intensity": Intensity(1, 5.0), "stable_after": 1.0}
    async with running(puppet("a"), puppet("b"), **park) as runtime:
        await crash(runtime, "/b")
        await crash(runtime, "/a")
        await settled(runtime)
        await crash(runtime, "/a")
        await asyncio.sleep(29.9)
        assert states(runtime) == {"/a": "parked", "/b": "running"}
        await asyncio.sleep(0.2)
        assert states(runtime) == {"/a": "running", "/b": "running"}
        await crash(runtime, "/a")  # its budget is whole again
        await settled(runtime)


@virtual
async def test_without_cool_off_a_parked_child_waits_for_a_request():
    """R9."""
    async with running(puppet("a"), exhausted=Exhausted.PARK, intensity=Intensity(0, 1.0)) as runtime:
        parked = recorded(runtime, Parked)
        await crash(runtime, "/a")
        await asyncio.sleep(10_000)
        assert story(parked) == ["Parked /a#1"]
        assert runtime.tree().find("/a").next_restart is None
        await runtime.supervisor().restart_child("a")
        assert states(runtime) == {"/a": "running"}


# ---------------------------------------------------------------------------------------------- R10


@virtual
async def test_a_child_that_fails_to_start_ends_the_start_of_its_supervisor():
    """R10: those that had started are stopped."""
    runtime = virtual_runtime(SupervisorSpec(children=(puppet("a"), puppet("b", start=Failing(1)), puppet("c"))))
    events = recorded(runtime, Started, StartFailed, Exited)
    with pytest.raises(RuntimeStartFailed, match="ValueError: not yet") as failure:
        await runtime.start()
    assert isinstance(failure.value.exit.error, ChildStartFailed)
    assert failure.value.exit.error.path == "/b"
    assert story(events) == ["Started /a#1", "StartFailed /b#1", "Exited /a#1"]


@virtual
async def test_a_child_that_the_environment_keeps_from_starting_does_not_end_the_start():
    """R10: alone it is retried while the others run; in a group the others wait for it."""
    for strategy, others in ((Strategy.ONE_FOR_ONE, "running"), (ALL, "waiting")):
        start = Failing(3, EnvironmentExit)
        children = (puppet("a", start=start), puppet("b"))
        async with running(*children, strategy=strategy, backoff=Backoff(5.0, 5.0), intensity=OFTEN) as runtime:
            await until_event(runtime, lambda event: isinstance(event, RestartScheduled))
            assert states(runtime) == {"/a": "waiting", "/b": others}
            await asyncio.sleep(20)
            assert states(runtime) == {"/a": "running", "/b": "running"}


@virtual
async def test_a_temporary_child_that_the_environment_keeps_from_starting_is_gone():
    """R2, R10."""
    once = puppet("a", start=Failing(1, EnvironmentExit), restart=Restart.TEMPORARY)
    async with running(once, puppet("b")) as runtime:
        assert states(runtime) == {"/b": "running"}


# ---------------------------------------------------------------------------------------------- R11


async def ended_by_significant(rule, *paths, strategy=Strategy.ONE_FOR_ONE):
    """Whether the supervisor has ended after these significant children stopped themselves."""
    names = [path.rpartition("/")[2] for path in paths]
    inner = SupervisorSpec(
        strategy,
        tuple(puppet(name, significant=name != "c", restart=Restart.TRANSIENT) for name in "abc"),
        auto_shutdown=rule,
    )
    async with running(ChildSpec("s", inner, restart=Restart.TRANSIENT)) as runtime:
        ends = recorded(runtime, Exited)
        for name in names:
            runtime.ref(f"/s/{name}").tell(lambda ctx: ctx.stop())
        await asyncio.sleep(1)
        return any(end.path == "/s" for end in ends)


@virtual
async def test_the_end_of_a_significant_child_ends_the_supervisor():
    """R11."""
    assert not await ended_by_significant(AutoShutdown.ANY_SIGNIFICANT, "/s/c")
    assert await ended_by_significant(AutoShutdown.ANY_SIGNIFICANT, "/s/a")
    assert not await ended_by_significant(AutoShutdown.ALL_SIGNIFICANT, "/s/a", "/s/c")
    assert await ended_by_significant(AutoShutdown.ALL_SIGNIFICANT, "/s/a", "/s/b")
    assert await ended_by_significant(AutoShutdown.ALL_SIGNIFICANT, "/s/a", "/s/b", strategy=DYNAMIC)


@virtual
async def test_a_significant_child_that_waits_or_is_parked_has_not_ended():
    """R11."""
    significant = {"significant": True, "restart": Restart.TRANSIENT}
    children = (puppet("a", **significant), puppet("b"), puppet("c", **significant))
    for options, state in (
        ({"strategy": REST, "backoff": Backoff(100.0, 100.0), "intensity": OFTEN}, "waiting"),
        ({"exhausted": Exhausted.PARK, "intensity": Intensity(0, 1.0)}, "parked"),
    ):
        inner = SupervisorSpec(children=children, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT, **options)
        async with running(ChildSpec("s", inner)) as runtime:
            victim = "/s/b" if state == "waiting" else "/s/c"
            for _ in range(2 if state == "waiting" else 1):
                await crash(runtime, victim)
                await asyncio.sleep(0)
                await asyncio.sleep(0.001)
            runtime.ref("/s/a").tell(lambda ctx: ctx.stop())
            await asyncio.sleep(0.001)
            found = states(runtime)
            assert (found["/s"], found["/s/a"], found["/s/c"]) == ("running", "stopped", state)


# ---------------------------------------------------------------------------------------------- the whole


@virtual
async def test_a_bug_in_a_supervisor_itself_stops_its_children_and_is_a_failure_like_any_other():
    """No child is left without a supervisor. A listener of events that raises is such a bug, of whoever wrote it."""

    def listener(event):
        if isinstance(event, Incident) and event.path == "/s" and event.incarnation == 1:
            raise OSError("disk full")

    inner = SupervisorSpec(children=(puppet("a"), puppet("b")))
    async with running(ChildSpec("s", inner)) as runtime:
        events = recorded(runtime, Exited, Started)
        runtime.events.listen(listener)
        await crash(runtime, "/s/a")
        await until_event(runtime, lambda event: isinstance(event, Started) and event.path == "/s")
        assert story(events) == [
            "Exited /s/a#1", "Exited /s/b#1", "Exited /s#1", "Started /s/a#2", "Started /s/b#2", "Started /s#2",
        ]  # fmt: skip
        assert isinstance(events[2].exit.error, OSError)


@virtual
async def test_a_supervisor_counts_as_a_child_like_any_other():
    """R9: escalation goes up level by level."""
    level = SupervisorSpec(children=(puppet("a"),), intensity=Intensity(0, 1.0))
    for _ in range(2):
        level = SupervisorSpec(children=(ChildSpec("s", level),), intensity=Intensity(0, 1.0))
    runtime: Runtime = virtual_runtime(level)
    await runtime.start()
    escalations = recorded(runtime, Escalated)
    runtime.inject("/s/s/a", ValueError("deep"))
    with pytest.raises(RuntimeFailed):
        await runtime.wait()
    assert [event.path for event in escalations] == ["/s/s", "/s", "/"]
    assert runtime.tree().state is State.STOPPED
    await runtime.stop()
