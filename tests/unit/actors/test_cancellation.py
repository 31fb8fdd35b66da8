"""Cancellation: rules C1 to C4 of docs/semantics.md. What needs a real loop is in test_hosts.py."""

import asyncio

import anyio
import pytest
from support.puppets import exits, puppet, running, settled, virtual

from forebay import ChildSpec, Ending, Failed, Limits, Restart, Started, SupervisorSpec, UnexpectedCancellation, describe
from forebay.testing import until_event, virtual_runtime


def sleeping(seconds):
    return lambda ctx: asyncio.sleep(seconds)


def task_of(runtime, path="/a"):
    return runtime.ref(path).place.process.task


# ---------------------------------------------------------------------------------------------- C1


@virtual
async def test_an_actor_cancelled_from_outside_runs_on_stop_and_its_task_ends_cancelled():
    """C1: its supervisor treats that like a failure."""
    stops = []
    async with running(puppet(stop=lambda ctx: stops.append(ctx.incarnation))) as runtime:
        ended = exits(runtime)
        runtime.ref("/a").tell(sleeping(60.0))
        await asyncio.sleep(1.0)
        task = task_of(runtime)
        task.cancel()
        await until_event(runtime, lambda event: isinstance(event, Started))
        assert task.cancelled()
        assert (stops, describe(ended[0])) == ([1], "killed: cancelled from outside")
        assert runtime.tree().find("/a").failures == 1


@virtual
async def test_a_second_cancellation_cuts_on_stop_short():
    """C1."""
    async with running(puppet(stop=sleeping(60.0), limits=Limits(shutdown=30.0), restart=Restart.TEMPORARY)) as runtime:
        ended = exits(runtime)
        task = task_of(runtime)
        task.cancel()
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait([task])
        assert asyncio.get_running_loop().time() == 1.0
        assert task.cancelled()
    assert [type(exit_).__name__ for exit_ in ended] == ["Killed"]


@virtual
async def test_cancelling_a_supervisors_task_stops_its_children_first():
    """C1: nothing is left without a supervisor."""
    stops = []
    below = SupervisorSpec(children=[puppet("x", stop=lambda ctx: stops.append(ctx.path))])
    async with running(ChildSpec("s", below)) as runtime:
        next(task for task in asyncio.all_tasks() if task.get_name() == "/s#1").cancel()
        await until_event(runtime, lambda event: isinstance(event, Started) and event.path == "/s")
        assert stops == ["/s/x"]
        assert runtime.ref("/s/x").place.incarnation == 2


# ---------------------------------------------------------------------------------------------- C2


async def stopped_by_cancelling(times, apart):
    """Cancel the host's task while its runtime stops; return how it ended, when, and the report."""
    runtime = virtual_runtime(SupervisorSpec(children=[puppet(limits=Limits(shutdown=5.0), stop=sleeping(3.0))]))

    async def host():
        async with runtime:
            await asyncio.sleep(1e6)

    task = asyncio.get_running_loop().create_task(host())
    await asyncio.sleep(1.0)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(apart)
    await asyncio.wait([task])
    return task, asyncio.get_running_loop().time(), runtime.report


@pytest.mark.parametrize("times", [1, 2, 25])
def test_cancelling_the_host_waits_for_the_stop_and_is_raised_then(times):
    """C2: once or many times."""

    @virtual
    async def main():
        task, at, report = await stopped_by_cancelling(times, 0.1)
        assert task.cancelled()
        return at, report.ending

    assert main() == (4.0, Ending.CLEAN)


@virtual
async def test_cancelling_the_host_while_the_tree_starts_stops_it():
    """C2: and is raised when nothing is left."""
    runtime = virtual_runtime(SupervisorSpec(children=[puppet("a"), puppet("b", start=sleeping(1e6))]))
    task = asyncio.get_running_loop().create_task(runtime.start())
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert runtime.report is not None
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual
async def test_under_an_anyio_scope_the_stop_is_as_orderly():
    """C2: level cancellation does not cut it short; the scope has its way afterwards."""
    runtime = virtual_runtime(SupervisorSpec(children=[puppet(limits=Limits(shutdown=5.0), stop=sleeping(3.0))]))
    with anyio.move_on_after(1.0) as scope:
        async with runtime:
            await anyio.sleep(1e6)
        pytest.fail("the scope's cancellation was lost")
    assert scope.cancelled_caught
    assert (asyncio.get_running_loop().time(), runtime.report.ending) == (4.0, Ending.CLEAN)


@virtual
async def test_under_asyncio_timeout_the_stop_is_as_orderly():
    """C2: the time-out is raised when the stop is over."""
    runtime = virtual_runtime(SupervisorSpec(children=[puppet(limits=Limits(shutdown=5.0), stop=sleeping(3.0))]))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0), runtime:
            await asyncio.sleep(1e6)
    assert (asyncio.get_running_loop().time(), runtime.report.ending) == (4.0, Ending.CLEAN)


# ---------------------------------------------------------------------------------------------- C3


async def under_timeout():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await asyncio.sleep(60.0)


async def in_a_task_group():
    done = []

    async def one():
        await asyncio.sleep(1.0)
        done.append(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(one())
        group.create_task(one())
    assert done == [1, 1]

    async def failing():
        async with asyncio.TaskGroup() as group:
            group.create_task(one())
            raise ValueError("boom")

    with pytest.raises(ExceptionGroup):
        await failing()


async def in_anyio():
    with anyio.move_on_after(1.0) as scope:
        await anyio.sleep(60.0)
    assert scope.cancelled_caught
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 60.0)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("block", [under_timeout, in_a_task_group, in_anyio])
@pytest.mark.parametrize("where", ["start", "message", "stop"])
def test_cancelling_blocks_work_inside_a_handler(block, where):
    """C3."""

    @virtual
    async def main():
        done = []

        async def handle(ctx):
            await block()
            assert asyncio.current_task().cancelling() == 0
            done.append(ctx.incarnation)

        hooks = {where: handle} if where != "message" else {}
        async with running(puppet(limits=Limits(shutdown=20.0), **hooks)) as runtime:
            ended = exits(runtime)
            if where == "message":
                runtime.ref("/a").tell(handle)
                await settled(runtime)
        return done, [describe(exit_) for exit_ in ended]

    assert main() == ([1], ["shutdown: the runtime stops"])


@virtual
async def test_a_limit_cuts_through_the_blocks_of_a_handler():
    """C3, R14: the blocks inside are cancelled, not confused."""

    async def handle(ctx):
        async with asyncio.timeout(1e6), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(1e6))
            with anyio.CancelScope():
                await anyio.sleep(1e6)

    async with running(puppet(limits=Limits(hard=5.0))) as runtime:
        ended = exits(runtime)
        runtime.ref("/a").tell(handle)
        await until_event(runtime, lambda event: isinstance(event, Started))
    assert describe(ended[0]).startswith("failed: HandlerTimeout")


# ---------------------------------------------------------------------------------------------- C4


@virtual
async def test_a_cancellation_that_nobody_sent_is_a_failure():
    """C4: the actor awaited something that was cancelled."""

    async def wait_for_the_cancelled(ctx):
        other = asyncio.get_running_loop().create_task(asyncio.sleep(60.0))
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    async with running(puppet()) as runtime:
        ended = exits(runtime)
        runtime.ref("/a").tell(wait_for_the_cancelled)
        await until_event(runtime, lambda event: isinstance(event, Started))
    assert isinstance(ended[0], Failed)
    assert isinstance(ended[0].error, UnexpectedCancellation)
