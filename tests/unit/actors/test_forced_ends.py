"""The corners of the ladder: S4, S7, R14. What ignores its cancellation is cut off, and reaches nothing any more."""

import asyncio

import pytest
from support.puppets import boom, exits, puppet, recorded, running, settled, virtual

from forebay import (
    Abandoned,
    ActorStopped,
    Exited,
    Failed,
    Killed,
    Limits,
    Normal,
    Shutdown,
    Started,
    StartFailed,
    Zombie,
)
from forebay.actors.exits import StartTimeout
from forebay.testing import until_event


async def deaf(seconds):
    """Sleep and ignore every cancellation."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        try:
            await asyncio.sleep(end - loop.time())
        except asyncio.CancelledError:
            continue


def is_a(kind, path="/a"):
    return lambda event: isinstance(event, kind) and event.path == path


@virtual
async def test_an_abandoned_handler_that_ends_after_all_takes_no_message_of_its_successor():
    """S4."""
    seen = []

    async def handler(ctx):
        await deaf(20)
        seen.append("the handler has ended")

    async with running(puppet("a", seen, limits=Limits(shutdown=1.0, hard=2.0))) as runtime:
        ends = exits(runtime)
        runtime.ref("/a").tell(handler)
        await asyncio.sleep(19.5)
        held = asyncio.Event()
        runtime.ref("/a").tell(lambda ctx: held.wait())
        runtime.ref("/a").tell("for the successor")
        await asyncio.sleep(1)
        assert seen == ["the handler has ended"]
        held.set()
        await settled(runtime)
        assert seen == ["the handler has ended", "for the successor"]
        assert ends == [Abandoned()]


@virtual
async def test_an_abandoned_handler_reaches_nothing_through_its_context():
    """S4: no timer, no stop and no task of it touches its successor."""
    seen = []

    async def handler(ctx):
        ctx.timer("late", 25.0, "a timer of the abandoned")
        await deaf(20)
        ctx.timer("later", 1.0, "a timer of the abandoned")
        ctx.stop("by the abandoned")
        with pytest.raises(ActorStopped, match="this incarnation has ended"):
            ctx.run("task", asyncio.sleep(100))
        seen.append("tried")

    async with running(puppet("a", seen, limits=Limits(shutdown=1.0, hard=2.0))) as runtime:
        runtime.ref("/a").tell(handler)
        await until_event(runtime, is_a(Started))
        await asyncio.sleep(100)
        assert seen == ["tried"]
        assert runtime.tree().find("/a").incarnation == 2


@virtual
async def test_the_tasks_of_an_abandoned_actor_are_cancelled_and_those_that_ignore_it_are_reported():
    """S7."""

    def start(ctx):
        ctx.run("meek", asyncio.sleep(1e6))
        ctx.run("deaf", deaf(50))

    async with running(puppet("a", start=start, stop=lambda ctx: deaf(60), limits=Limits(shutdown=1.0))) as runtime:
        zombies = recorded(runtime, Zombie)
        report = await runtime.stop()
        assert report.abandoned == ("/a",)
        assert report.zombies == ("/a#1", "/a#1/deaf")
        assert [zombie.task for zombie in zombies] == ["/a#1", "/a#1/deaf"]
        await asyncio.sleep(100)  # an on_stop that ends after all does nothing more
        assert runtime.system.zombies == set()


@virtual
async def test_a_start_that_ignores_its_time_limit_is_abandoned_and_does_not_hold_its_supervisor_up():
    """R14, S4: cancelled at the limit and half a second later, cut off after half a second more."""
    limits = Limits(start=3.0)

    def start(ctx):
        return deaf(100) if ctx.incarnation == 2 else None

    async with running(puppet("a", start=start, limits=limits)) as runtime:
        runtime.ref("/a").tell(boom)
        failed = await until_event(runtime, is_a(StartFailed))
        assert (failed.at, failed.exit) == (4.0, Abandoned())
        await settled(runtime)


@virtual
async def test_a_start_that_gives_way_to_a_later_cancellation_of_its_limit_failed_by_that_limit():
    """R14."""
    refused = []

    async def start(ctx):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            refused.append(asyncio.get_running_loop().time())
            await asyncio.sleep(100)

    first = puppet("a", start=lambda ctx: None if ctx.incarnation == 1 or refused else start(ctx), limits=Limits(start=3.0))
    async with running(first) as runtime:
        runtime.ref("/a").tell(boom)
        failed = await until_event(runtime, is_a(StartFailed))
        assert (refused, failed.at) == ([3.0], 3.5)
        assert isinstance(failed.exit.error, StartTimeout)
        await settled(runtime)


@virtual
async def test_a_time_limit_that_passes_on_the_ladder_does_not_lengthen_it():
    """S4: told to stop at 1 s with 1 s of grace, over its limit at 2.2 s, the start is cut off at 3 s."""
    limits = Limits(start=2.2, shutdown=1.0)
    async with running() as runtime:
        asked = asyncio.get_running_loop().create_task(
            runtime.supervisor().start_child(puppet("a", start=lambda ctx: deaf(100), limits=limits))
        )
        await asyncio.sleep(1)
        report = await runtime.stop()
        assert (report.seconds, report.abandoned) == (2.0, ("/a",))
        await asyncio.wait([asked])
        assert asked.exception() is not None


@virtual
async def test_the_handler_that_obeys_its_hard_limit_leaves_on_stop_all_its_time():
    """R14."""
    stopped = []

    async def stop(ctx):
        await asyncio.sleep(3)
        stopped.append(asyncio.get_running_loop().time())

    async with running(puppet("a", stop=stop, limits=Limits(shutdown=4.0, hard=1.0))) as runtime:
        ends = exits(runtime)
        runtime.ref("/a").tell(lambda ctx: asyncio.sleep(100))
        ended = await until_event(runtime, is_a(Exited))
        assert stopped == [ended.at]
        assert isinstance(ends[0], Failed)


@virtual
async def test_a_hard_limit_during_a_stop_does_not_lengthen_the_stop():
    """S4: what is left of the grace is what on_stop has."""
    slow = puppet("a", stop=lambda ctx: asyncio.sleep(100), limits=Limits(shutdown=3.0, hard=2.0))
    async with running(slow) as runtime:
        runtime.ref("/a").tell(lambda ctx: asyncio.sleep(100))
        await asyncio.sleep(0.1)
        report = await runtime.stop()
        assert report.seconds == 3.0


@virtual
async def test_an_end_that_only_its_cancellation_brought_about_is_killed():
    """S4, S7: an on_stop that was cut short is no orderly end, whether asked for or not."""
    async with running(puppet("a", stop=lambda ctx: asyncio.sleep(100), limits=Limits(shutdown=1.0))) as runtime:
        ends = exits(runtime)
        runtime.ref("/a").tell(lambda ctx: ctx.stop())
        await until_event(runtime, is_a(Started))
        report = await runtime.stop()
        assert [type(end) for end in ends] == [Killed, Killed]
        assert report.forced == ("/a",)


@virtual
async def test_without_grace_an_actor_is_cancelled_at_once_and_on_stop_has_half_a_second():
    """S5."""
    stopped = []

    async def stop(ctx):
        await asyncio.sleep(0.4)
        stopped.append("whole")
        await asyncio.sleep(0.4)
        stopped.append("too long")

    async with running(puppet("a", stop=stop)) as runtime:
        report = await runtime.stop(0.0)
        assert (stopped, report.seconds, report.forced) == (["whole"], 0.5, ("/a",))


@virtual
async def test_a_task_cancelled_before_its_first_step_ends_like_any_other():
    """C1, S6."""
    made = []

    async def first_step_of_a():
        while not (found := [task for task in asyncio.all_tasks() if task.get_name() == "/a#1"]):
            await asyncio.sleep(0)
        return found[0]

    async with running() as runtime:
        events = recorded(runtime, StartFailed)
        asking = runtime.supervisor().start_child(puppet("a", start=made.append))
        asked = asyncio.get_running_loop().create_task(asking)
        (await first_step_of_a()).cancel()
        await asyncio.wait([asked])
        assert asked.exception() is not None
        assert [event.exit for event in events] == [Killed("cancelled from outside")]
        assert made == []


@virtual
async def test_a_stop_after_the_actor_asked_for_its_own_end_changes_nothing():
    """S3: the first reason stands."""
    async with running(puppet("a", stop=lambda ctx: asyncio.sleep(1))) as runtime:
        ends = exits(runtime)
        runtime.ref("/a").tell(lambda ctx: ctx.stop("done"))
        await asyncio.sleep(0.5)
        await runtime.stop()
        assert ends == [Normal("done")]


@virtual
async def test_an_end_asked_for_after_the_stop_changes_nothing():
    """S3."""
    async with running(puppet("a")) as runtime:
        ends = exits(runtime)

        async def late(ctx):
            await asyncio.sleep(1)
            ctx.stop("too late")

        runtime.ref("/a").tell(late)
        await asyncio.sleep(0.5)
        await runtime.stop()
        assert ends == [Shutdown("the runtime stops")]
