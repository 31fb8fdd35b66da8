"""Failure and the watchdog: rules R1 and R14 of docs/semantics.md."""

import asyncio
import time

import pytest
from support.puppets import Puppet, boom, exits, puppet, recorded, running, settled, virtual

from forebay import (
    Actor,
    ActorDied,
    ChildSpec,
    Exited,
    Failed,
    HandlerStuck,
    HandlerTimeout,
    Limits,
    LoopLag,
    Restart,
    Runtime,
    RuntimeStartFailed,
    Started,
    StartFailed,
    SupervisorSpec,
    describe,
)
from forebay.testing import until_event, virtual_runtime

# ---------------------------------------------------------------------------------------------- R1


async def failing(ctx):
    raise ValueError("boom")


@pytest.mark.parametrize(
    "message",
    [boom, lambda ctx: ctx.timer("t", 0.0, boom), lambda ctx: ctx.run("task", failing(ctx))],
    ids=["in a handler", "in a timer's handling", "in a task"],
)
def test_an_exception_ends_the_incarnation_and_travels_no_further(message):
    """R1: the next incarnation begins; the loop's exception handler hears nothing."""

    @virtual
    async def main():
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        async with running(puppet("a"), puppet("b")) as runtime:
            ended = exits(runtime)
            runtime.ref("/a").tell(message)
            await until_event(runtime, lambda event: isinstance(event, Started))
            await settled(runtime)
            assert runtime.tree().find("/b").incarnation == 1
            return [describe(exit_) for exit_ in ended], complaints

    assert main() == (["failed: ValueError: boom"], [])


@virtual
async def test_an_exception_in_on_start_is_a_failed_start():
    """R1: on_stop does not run for what never started."""
    stopped = []
    tree = SupervisorSpec(children=[puppet(start=boom, stop=stopped.append)])
    runtime = virtual_runtime(tree)
    events = recorded(runtime, Started, StartFailed, Exited)
    with pytest.raises(RuntimeStartFailed, match="ValueError: boom"):
        await runtime.start()
    assert [(type(event), describe(event.exit)) for event in events] == [(StartFailed, "failed: ValueError: boom")]
    assert stopped == []


@virtual
async def test_a_failed_on_stop_makes_an_orderly_end_failed_and_leaves_another_failure_as_it_was():
    """R1."""

    def stop(ctx):
        raise OSError("disk")

    async with running(puppet(stop=stop)) as runtime:
        ended = exits(runtime)
        runtime.ref("/a").tell(boom)
        await until_event(runtime, lambda event: isinstance(event, Started))
    assert [describe(exit_) for exit_ in ended] == ["failed: ValueError: boom", "failed: OSError: disk"]


@virtual
async def test_an_actor_without_on_message_says_which_message_it_cannot_take():
    async with running(ChildSpec("a", Actor, restart=Restart.TEMPORARY)) as runtime:
        ended = exits(runtime)
        runtime.ref("/a").tell(1)
        await asyncio.sleep(1.0)
    assert [describe(exit_) for exit_ in ended] == ["failed: NotImplementedError: Actor takes no messages; int came"]


@virtual
async def test_a_task_belongs_to_its_incarnation():
    """R1: one per name at a time; cancelled and waited for at the end."""
    ended = []

    async def work():
        try:
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(1.0)
            ended.append(asyncio.get_running_loop().time())

    def start(ctx):
        ctx.run("work", work())
        assert ctx.running("work")
        with pytest.raises(ValueError, match="/a runs a task 'work' already"):
            ctx.run("work", work())

    async with running(puppet(start=start)) as runtime:
        assert runtime.tree().find("/a").tasks == ("work",)
        task = next(task for task in asyncio.all_tasks() if task.get_name() == "/a#1/work")
        await asyncio.sleep(5.0)
    assert (task.cancelled(), ended) == (True, [6.0])


@virtual
async def test_a_task_that_is_cancelled_by_name_is_no_failure():
    def start(ctx):
        ctx.run("work", asyncio.sleep(1e6))

    def cancel(ctx):
        ctx.cancel("work")
        ctx.cancel("never run")

    async with running(puppet(start=start)) as runtime:
        runtime.ref("/a").tell(cancel)
        await asyncio.sleep(1.0)
        assert runtime.tree().find("/a").tasks == ()
        assert runtime.tree().find("/a").incarnation == 1


# --------------------------------------------------------------------------------------------- R14


def sleeping(seconds):
    return lambda ctx: asyncio.sleep(seconds)


@virtual
async def test_a_handler_over_its_soft_limit_is_reported_once_and_goes_on():
    """R14: at most a second late, whatever the limit."""
    seen = []
    async with running(puppet(seen=seen, limits=Limits(soft=3.0))) as runtime:
        stuck = recorded(runtime, HandlerStuck)
        runtime.ref("/a").tell(sleeping(60.0))
        runtime.ref("/a").tell("next")
        await settled(runtime)
        runtime.ref("/a").tell(sleeping(2.0))
        await settled(runtime)
    assert [event.path for event in stuck] == ["/a"]
    assert 3.0 <= stuck[0].at <= 4.0
    assert seen == ["next"]


@virtual
async def test_every_handler_is_judged_by_itself():
    """R14: many short ones in a row are not one long one."""
    async with running(puppet(limits=Limits(soft=3.0))) as runtime:
        stuck = recorded(runtime, HandlerStuck)
        for _ in range(20):
            runtime.ref("/a").tell(sleeping(2.0))
        runtime.ref("/a").tell(lambda ctx: ctx.timer("t", 0.0, sleeping(2.0)))
        await settled(runtime)
    assert stuck == []


@virtual
async def test_a_handler_over_its_hard_limit_is_cancelled_and_the_actor_fails():
    """R14: its ask fails with it, and the next incarnation goes on with what is queued."""
    seen = []
    async with running(puppet(seen=seen, limits=Limits(soft=1.0, hard=5.0))) as runtime:
        ended = exits(runtime)
        loop = asyncio.get_running_loop()
        ask = loop.create_task(runtime.ref("/a").ask(sleeping(60.0), 100.0))
        await asyncio.sleep(0)
        runtime.ref("/a").tell("next")
        with pytest.raises(ActorDied, match="handling function took longer than"):
            await ask
        assert 5.0 <= loop.time() <= 6.0
        await settled(runtime)
    assert isinstance(ended[0].error, HandlerTimeout)
    assert seen == ["next"]


@virtual
async def test_a_handler_that_turns_its_cancellation_into_a_return_fails_all_the_same():
    """R14."""

    async def clever(ctx):
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            return

    async with running(puppet(limits=Limits(hard=5.0))) as runtime:
        ended = exits(runtime)
        runtime.ref("/a").tell(clever)
        await asyncio.sleep(8.0)
        assert [describe(exit_) for exit_ in ended] == ["failed: HandlerTimeout: handling function took longer than 5.0 s"]


@virtual
async def test_a_handler_that_ignores_its_hard_limit_does_not_hold_its_supervisor_up():
    """R14, S4: it is abandoned, and the next incarnation works."""
    over = asyncio.get_running_loop().create_future()

    async def deaf(ctx):
        while not over.done():
            try:
                await asyncio.wait([over])
            except asyncio.CancelledError:
                continue

    async with running(puppet(limits=Limits(hard=5.0, shutdown=1.0))) as runtime:
        ended = exits(runtime)
        runtime.ref("/a").tell(deaf)
        assert await runtime.ref("/a").ask(lambda ctx: ctx.reply(ctx.incarnation), 60.0) == 2
        assert asyncio.get_running_loop().time() <= 8.0
        over.set_result(None)
    assert describe(ended[0]) == "abandoned: ignored cancellation"


@virtual
async def test_waiting_for_messages_is_not_being_stuck():
    """R14."""
    async with running(puppet(limits=Limits(soft=1.0, hard=2.0))) as runtime:
        events = recorded(runtime, HandlerStuck, Exited)
        await asyncio.sleep(100.0)
        assert events == []


async def test_a_handler_that_blocks_the_loop_is_reported_as_lag():
    """R14, on a real loop: the watchdog's own timer came late."""
    async with Runtime(SupervisorSpec(children=[ChildSpec("a", Puppet)])) as runtime:
        runtime.ref("/a").tell(lambda ctx: time.sleep(0.8))
        lag = await until_event(runtime, lambda event: isinstance(event, LoopLag), timeout=5.0)
    assert lag.lag >= 0.1


@virtual
async def test_an_actor_whose_start_takes_too_long_has_failed_to_start():
    tree = SupervisorSpec(children=[puppet(start=sleeping(60.0), limits=Limits(start=2.0))])
    runtime = virtual_runtime(tree)
    with pytest.raises(RuntimeStartFailed, match=r"on_start took longer than 2.0 s"):
        await runtime.start()
    assert asyncio.get_running_loop().time() == 2.0


@virtual
async def test_a_start_without_limit_may_take_any_time():
    tree = SupervisorSpec(children=[puppet(start=sleeping(5000.0), limits=Limits(start=None))])
    async with virtual_runtime(tree) as runtime:
        assert runtime.ref("/a").alive


def test_an_exit_is_described_without_addresses():
    assert describe(Failed(OSError("disk"))) == "failed: OSError: disk"
