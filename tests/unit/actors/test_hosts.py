"""A runtime inside somebody else's program, on real loops: rules C2 and S7 of docs/semantics.md (A5)."""

import asyncio
import signal
import threading

import anyio
import pytest
from support.puppets import boom, puppet
from support.sockets import open_files

from forebay import Ending, Limits, Runtime, RuntimeFailed, SupervisorSpec
from forebay.testing import Crash, crash


def tree(seen=None, **options):
    """Two actors; the second says in `seen` that it stopped in order."""
    seen = [] if seen is None else seen
    return SupervisorSpec(children=[puppet("a"), puppet("b", stop=lambda ctx: seen.append("stopped"), **options)])


def slow_tree(seen):
    """A stop of it takes a few turns of the loop."""

    async def stop(ctx):
        await asyncio.sleep(0.05)
        seen.append("stopped")

    return SupervisorSpec(children=[puppet("a", stop=stop)])


# ---------------------------------------------------------------------------------------------- C2


@pytest.mark.parametrize("times", [1, 2, 20])
async def test_a_host_that_is_cancelled_natively_waits_for_the_stop(times):
    """C2."""
    seen = []
    started = asyncio.Event()

    async def host():
        async with Runtime(slow_tree(seen)):
            started.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(host())
    await started.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["stopped"]


async def test_inside_an_anyio_scope_the_stop_is_whole_and_the_scope_ends_as_it_should():
    """C2."""
    seen = []
    with anyio.move_on_after(0.05) as scope:
        async with Runtime(slow_tree(seen)):
            await anyio.sleep(60)
    assert (scope.cancelled_caught, seen) == (True, ["stopped"])


async def test_inside_an_anyio_task_group_that_fails_the_stop_is_whole():
    """C2."""
    seen = []

    async def host(*, task_status=anyio.TASK_STATUS_IGNORED):
        async with Runtime(slow_tree(seen)):
            task_status.started()
            await anyio.sleep(60)

    async def failing_group():
        async with anyio.create_task_group() as group:
            await group.start(host)
            raise OSError("a sibling")

    with pytest.raises(ExceptionGroup):
        await failing_group()
    assert seen == ["stopped"]


async def test_inside_asyncio_timeout_the_stop_is_whole_and_the_time_out_is_raised():
    """C2."""
    seen = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), Runtime(slow_tree(seen)):
            await asyncio.sleep(60)
    assert seen == ["stopped"]


def test_asyncio_run_that_ends_early_takes_the_tree_down_without_a_word(caplog):
    """C2, S7: main returned and nobody stopped the runtime; every task of it is cancelled at once."""
    seen = []
    runtimes = []

    async def main():
        runtime = Runtime(tree(seen))
        runtimes.append(runtime)
        await runtime.start()

    asyncio.run(main())
    assert seen == ["stopped"]
    assert runtimes[0].report is not None
    assert caplog.records == []


class Interrupt(KeyboardInterrupt):
    """As Ctrl-C, but pytest does not take it for one."""


def test_a_keyboard_interrupt_inside_a_handler_reaches_the_host_and_the_tree_is_taken_down():
    """C2: it leaves the loop, as it does from any callback, and asyncio.run ends the rest."""
    seen = []

    def interrupt(ctx):
        raise Interrupt

    async def main():
        async with Runtime(tree(seen)) as runtime:
            runtime.ref("/a").tell(interrupt)
            await asyncio.sleep(60)

    with pytest.raises(Interrupt):
        asyncio.run(main())
    assert seen == ["stopped"]


@pytest.fixture
def interruptible():
    """Ctrl-C as at a terminal: a process started in the background, as in CI, may have inherited that SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_the_tree_in_order(interruptible):
    """C2: asyncio.run turns SIGINT into a cancellation of main, and raises KeyboardInterrupt after the stop."""
    seen = []

    async def main():
        async with Runtime(slow_tree(seen)):
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert seen == ["stopped"]


async def test_an_error_in_the_hosts_block_stops_the_tree_and_is_raised():
    seen = []
    with pytest.raises(ZeroDivisionError):
        async with Runtime(slow_tree(seen)):
            raise ZeroDivisionError
    assert seen == ["stopped"]


async def test_a_tree_that_gives_up_is_raised_where_the_block_is_left():
    runtime = Runtime(SupervisorSpec(children=[puppet("a", start=None)], stable_after=60.0))

    async def host():
        async with runtime:
            while True:
                await runtime.ref("/a").send(boom)

    with pytest.raises(RuntimeFailed, match="ValueError: boom"):
        await host()
    with pytest.raises(RuntimeFailed):
        await runtime.wait()


# ---------------------------------------------------------------------------------------------- S7


async def use(runtime):
    """Work of every kind: asks, tasks, timers, a crash, a monitor."""
    async with runtime:
        runtime.ref("/a").tell(lambda ctx: ctx.every("t", 0.001, lambda ctx: None))
        runtime.ref("/a").tell(lambda ctx: ctx.run("work", asyncio.sleep(60)))
        runtime.ref("/a").tell(lambda ctx: ctx.monitor(ctx.lookup("/b")) and None)
        assert await runtime.ref("/b").ask(lambda ctx: ctx.reply("hello"), 5) == "hello"
        await crash(runtime, "/b", Crash("on purpose"))


def test_nothing_is_left_of_a_stopped_runtime():
    """S7: no task, no timer, no thread, no file descriptor."""

    async def main():
        loop = asyncio.get_running_loop()
        await use(Runtime(tree()))  # whatever asyncio opens for itself is open now
        before = (asyncio.all_tasks(), threading.enumerate(), open_files())
        for _ in range(5):
            await use(Runtime(tree()))
        assert (asyncio.all_tasks(), threading.enumerate(), open_files()) == before
        assert [timer for timer in loop._scheduled if not timer.cancelled()] == []

    asyncio.run(main())


async def test_a_report_tells_a_clean_stop_from_a_forced_one():
    """S7."""
    runtime = Runtime(SupervisorSpec(children=[puppet("a", limits=Limits(shutdown=0.05))]))
    async with runtime:
        runtime.ref("/a").tell(lambda ctx: asyncio.sleep(60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert (runtime.report.ending, runtime.report.forced) == (Ending.FORCED, ("/a",))


# ---------------------------------------------------------------------------------------------- A5


async def test_several_runtimes_in_one_loop_know_nothing_of_each_other():
    """A5: same paths, other actors; one that fails or stops does not touch the rest."""
    seen = [[], [], []]
    runtimes = [Runtime(SupervisorSpec(children=[puppet("a", found)])) for found in seen]
    async with runtimes[0], runtimes[1]:
        async with runtimes[2]:
            for number, runtime in enumerate(runtimes):
                runtime.ref("/a").tell(number)
            await crash(runtimes[0], "/a")
            assert [runtime.tree().find("/a").incarnation for runtime in runtimes[1:]] == [1, 1]
        assert runtimes[1].ref("/a").alive
    assert seen == [[0], [1], [2]]


async def test_one_runtimes_actor_may_ask_anothers():
    """A5: a ref is all it takes."""
    async with Runtime(tree()) as one, Runtime(tree()) as other:

        async def relay(ctx):
            ctx.reply(await other.ref("/a").ask(lambda ctx: ctx.reply(ctx.path), 5))

        assert await one.ref("/a").ask(relay, 5) == "/a"


def test_in_a_loop_that_runs_already_the_runtime_is_started_and_stopped_step_by_step():
    """A5: as in a notebook, whose loop runs between cells and whose cells are tasks."""
    loop = asyncio.new_event_loop()
    cell = loop.run_until_complete
    runtime = Runtime(tree())
    try:
        cell(runtime.start())
        assert cell(runtime.ref("/a").ask(lambda ctx: ctx.reply(1), 5)) == 1
        report = cell(runtime.stop())
        assert report.ending is Ending.CLEAN
        assert asyncio.all_tasks(loop) == set()
    finally:
        loop.close()


@pytest.fixture
async def runtime():
    async with Runtime(tree()) as running:
        yield running


async def test_a_runtime_lives_in_a_pytest_asyncio_fixture(runtime):
    """A5: set up in one task, torn down in another, as fixtures are."""
    assert await runtime.ref("/a").ask(lambda ctx: ctx.reply("here"), 5) == "here"


async def test_the_runtime_changes_nothing_of_the_hosts():
    """A5: no signal handler, no exception handler, no task factory, no policy."""
    loop = asyncio.get_running_loop()

    def look():
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return signals, loop.get_exception_handler(), loop.get_task_factory(), asyncio.get_event_loop_policy()

    before = look()
    async with Runtime(tree()):
        assert look() == before
    assert look() == before


async def test_a_runtime_is_used_once():
    runtime = Runtime(tree())
    with pytest.raises(Exception, match="never started"):
        await runtime.stop()
    async with runtime:
        with pytest.raises(Exception, match="started before"):
            await runtime.start()
