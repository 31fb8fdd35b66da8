"""The end of one actor and of a whole tree: rules S3 to S7 of docs/semantics.md."""

import asyncio

import pytest
from support.puppets import boom, exits, puppet, recorded, running, settled, virtual

from forebay import (
    ActorStopped,
    ChildSpec,
    Ending,
    Exited,
    Killed,
    Limits,
    Restart,
    RestartScheduled,
    Started,
    StartFailed,
    State,
    Strategy,
    SupervisorSpec,
    Zombie,
    describe,
)
from forebay.testing import crash, until_event, virtual_runtime


def now():
    return asyncio.get_running_loop().time()


def sleeping(seconds):
    return lambda ctx: asyncio.sleep(seconds)


class Deaf:
    """A handler that ignores its cancellation until it is released."""

    def __init__(self):
        self.released = False
        self.cancelled_at = []

    async def __call__(self, ctx=None):
        while not self.released:
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                self.cancelled_at.append(now())

    async def release(self, task):
        self.released = True
        task.cancel()
        await asyncio.wait([task])


# ---------------------------------------------------------------------------------------------- S3


@virtual
async def test_a_stop_lets_the_current_handler_finish_and_then_runs_on_stop():
    """S3: what is queued is not handled."""
    steps = []

    async def work(ctx):
        await asyncio.sleep(2.0)
        steps.append("worked")

    async with running(puppet(seen=steps, stop=lambda ctx: steps.append("stopped"))) as runtime:
        runtime.ref("/a").tell(work)
        runtime.ref("/a").tell("queued")
        await asyncio.sleep(1.0)
        report = await runtime.stop()
    assert steps == ["worked", "stopped"]
    assert (report.seconds, report.ending) == (1.0, Ending.CLEAN)


@virtual
async def test_a_timer_that_had_fired_before_the_stop_is_still_handled():
    """S3: the system lane is read in order; one that fires after the stop was asked for is not."""
    steps = []

    def start(ctx):
        ctx.timer("before", 1.0, "before")
        ctx.timer("after", 3.0, "after")

    async with running(puppet(seen=steps, start=start)) as runtime:
        runtime.ref("/a").tell(sleeping(4.0))
        await asyncio.sleep(2.0)
        await runtime.stop()
    assert steps == ["before"]


@virtual
async def test_with_drain_what_is_in_the_mailbox_is_handled_first_and_nothing_new_is_taken():
    """S3."""
    steps = []
    drained = puppet(seen=steps, stop=lambda ctx: steps.append("stopped"), limits=Limits(drain=True))
    async with running(drained) as runtime:
        ref = runtime.ref("/a")
        for message in (sleeping(2.0), 1, 2, 3):
            ref.tell(message)
        stopping = asyncio.get_running_loop().create_task(runtime.stop())
        await asyncio.sleep(1.0)
        with pytest.raises(ActorStopped, match="it is stopping"):
            ref.tell(4)
        report = await stopping
    assert (steps, report.ending) == ([1, 2, 3, "stopped"], Ending.CLEAN)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda runtime: runtime.ref("/a").tell(boom), "failed: ValueError: boom"),
        (lambda runtime: runtime.ref("/a").tell(lambda ctx: ctx.stop()), "normal: done"),
        (lambda runtime: runtime.ref("/a").place.process.task.cancel(), "killed: cancelled from outside"),
        (lambda runtime: runtime.ref("/a").place.process.stop("enough", 5.0), "shutdown: enough"),
    ],
)
def test_on_stop_runs_once_however_the_incarnation_ended(end, told):
    """S3."""

    @virtual
    async def main():
        stops = []
        async with running(puppet(stop=lambda ctx: stops.append(ctx.incarnation), restart=Restart.TEMPORARY)) as runtime:
            ended = exits(runtime)
            end(runtime)
            await asyncio.sleep(5.0)
        return stops, [describe(exit_) for exit_ in ended]

    assert main() == ([1], [told])


@virtual
async def test_an_actor_can_see_that_it_is_asked_to_stop():
    """S3: long work may leave early."""
    async with running(puppet(limits=Limits(shutdown=10.0))) as runtime:

        async def patient(ctx):
            while not ctx.stopping:
                await asyncio.sleep(1.0)

        runtime.ref("/a").tell(patient)
        await asyncio.sleep(5.5)
        report = await runtime.stop()
    assert (report.seconds, report.ending) == (0.5, Ending.CLEAN)


# ---------------------------------------------------------------------------------------------- S4


@virtual
async def test_an_actor_past_its_grace_is_cancelled_and_still_runs_on_stop():
    """S4: a cancelled handler ends the actor `Killed`."""
    stops = []
    async with running(puppet(stop=stops.append, limits=Limits(shutdown=2.0))) as runtime:
        ended = exits(runtime)
        runtime.ref("/a").tell(sleeping(60.0))
        await asyncio.sleep(1.0)
        report = await runtime.stop()
    assert (report.seconds, report.forced, report.ending) == (2.0, ("/a",), Ending.FORCED)
    assert (len(stops), describe(ended[0])) == (1, "killed: its time to stop had passed")


@virtual
async def test_an_on_stop_past_its_grace_is_cut_short():
    """S4: and that makes the end a forced one."""
    async with running(puppet(stop=sleeping(60.0), limits=Limits(shutdown=2.0))) as runtime:
        report = await runtime.stop()
    assert report.ending is Ending.FORCED
    assert 2.0 <= report.seconds <= 2.5


@virtual
async def test_an_actor_that_fails_has_its_grace_for_on_stop_too():
    """S4."""
    async with running(puppet(stop=sleeping(60.0), limits=Limits(shutdown=2.0))) as runtime:
        runtime.ref("/a").tell(boom)
        await until_event(runtime, lambda event: isinstance(event, Started))
        assert 2.0 <= now() <= 3.0


@virtual
async def test_an_actor_that_ignores_cancellation_is_cancelled_twice_and_then_abandoned():
    """S4: half a second apart; it is reported, and the stop takes its grace and one second."""
    deaf = Deaf()
    async with running(puppet("a", limits=Limits(shutdown=2.0)), puppet("b")) as runtime:
        zombies = recorded(runtime, Zombie)
        runtime.ref("/a").tell(deaf)
        await asyncio.sleep(1.0)
        task = runtime.ref("/a").place.process.task
        report = await runtime.stop()
    assert deaf.cancelled_at == [3.0, 3.5]
    assert (report.seconds, report.abandoned, report.zombies) == (3.0, ("/a",), ("/a#1",))
    assert report.ending is Ending.ABANDONED
    assert [event.task for event in zombies] == ["/a#1"]
    await deaf.release(task)


@virtual
async def test_a_task_that_ignores_cancellation_is_reported_by_name():
    """S4, S7."""
    deaf = Deaf()
    async with running(puppet(start=lambda ctx: ctx.run("deaf", deaf()), limits=Limits(shutdown=2.0))) as runtime:
        await asyncio.sleep(1.0)
        task = next(task for task in asyncio.all_tasks() if task.get_name() == "/a#1/deaf")
        report = await runtime.stop()
    assert (report.zombies, report.ending) == (("/a#1/deaf",), Ending.ABANDONED)
    assert report.seconds <= 3.0
    await deaf.release(task)


@virtual
async def test_tasks_that_heed_their_cancellation_have_half_a_second_beyond_a_short_grace():
    """S4: on a starved machine a grace may pass within the turns that they need for it; that is no reason to report them."""

    async def slow_to_end():
        try:
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(0.5)

    def start(ctx):
        ctx.run("slow", slow_to_end())

    async with running(puppet("a", start=start, limits=Limits(shutdown=0.2))) as runtime:
        ends = exits(runtime)
        report = await runtime.stop()
        assert (report.zombies, ends) == ((), [Killed("its time to stop had passed")])


@virtual
async def test_an_abandoned_incarnation_reaches_nothing_when_it_wakes_up():
    """S4: it can neither stop the next incarnation nor start tasks or timers in its name."""
    outcomes = []
    go = asyncio.get_running_loop().create_future()

    async def deaf(ctx):
        while not go.done():
            try:
                await asyncio.wait([go])
            except asyncio.CancelledError:
                continue
        ctx.stop("from the dead")
        ctx.timer("t", 0.0, boom)
        with pytest.raises(ActorStopped):
            ctx.run("work", asyncio.sleep(1.0))
        outcomes.append("done")

    async with running(puppet(limits=Limits(shutdown=1.0))) as runtime:
        runtime.ref("/a").tell(deaf)
        await asyncio.sleep(1.0)
        await runtime.supervisor().terminate_child("a")
        await runtime.supervisor().restart_child("a")
        go.set_result(None)
        await asyncio.sleep(10.0)
        await settled(runtime)
        assert runtime.ref("/a").place.incarnation == 2
        report = await runtime.stop()
    assert (outcomes, report.zombies) == (["done"], ())


# ---------------------------------------------------------------------------------------------- S5


@virtual
async def test_the_deadline_of_a_stop_cuts_the_graces_of_all_children():
    """S5: past it all that still run are cancelled at once; the whole takes the deadline and a second."""
    below = SupervisorSpec(children=[puppet("x", limits=Limits(shutdown=5.0)), puppet("y", limits=Limits(shutdown=5.0))])
    async with running(puppet("a", limits=Limits(shutdown=5.0)), ChildSpec("s", below)) as runtime:
        for path in ("/a", "/s/x", "/s/y"):
            runtime.ref(path).tell(sleeping(1e6))
        await asyncio.sleep(1.0)
        report = await runtime.stop(grace=3.0)
    assert 3.0 <= report.seconds <= 4.0
    assert sorted(report.forced) == ["/a", "/s/x", "/s/y"]


@virtual
async def test_deaf_actors_in_a_row_do_not_add_up():
    """S5."""
    ears = [Deaf() for _ in range(5)]
    tree = [puppet(str(number), limits=Limits(shutdown=3.0)) for number in range(5)]
    async with running(*tree) as runtime:
        tasks = []
        for number, deaf in enumerate(ears):
            runtime.ref(f"/{number}").tell(deaf)
            tasks.append(runtime.ref(f"/{number}").place.process.task)
        await asyncio.sleep(1.0)
        report = await runtime.stop(grace=4.0)
    assert report.seconds <= 5.0
    assert len(report.abandoned) == 5
    for deaf, task in zip(ears, tasks, strict=True):
        await deaf.release(task)


@virtual
async def test_a_stop_asked_for_again_can_only_come_nearer():
    """S5."""
    async with running(puppet(limits=Limits(shutdown=20.0))) as runtime:
        runtime.ref("/a").tell(sleeping(1e6))
        await asyncio.sleep(1.0)
        first = asyncio.get_running_loop().create_task(runtime.stop())
        await asyncio.sleep(1.0)
        report = await runtime.stop(grace=2.0)
        assert await runtime.stop(grace=50.0) == report == await first
    assert 3.0 <= report.seconds <= 4.0


# ---------------------------------------------------------------------------------------------- S6


@virtual
async def test_a_child_that_is_being_started_when_the_stop_comes_is_cancelled():
    """S6: and the stop is a clean one."""
    events = []
    runtime = virtual_runtime(SupervisorSpec(children=[puppet("a"), puppet("b", start=sleeping(1e6)), puppet("c")]))
    events = recorded(runtime, Started, StartFailed, Exited)
    starting = asyncio.get_running_loop().create_task(runtime.start())
    await asyncio.sleep(1.0)
    report = await runtime.stop()
    await asyncio.wait([starting])
    starting.exception()
    assert [(type(event).__name__, event.path) for event in events] == [
        ("Started", "/a"),
        ("StartFailed", "/b"),
        ("Exited", "/a"),
    ]
    assert (report.seconds, report.ending) == (0.0, Ending.CLEAN)


@virtual
async def test_a_child_cancelled_before_its_first_step_leaves_the_stop_clean():
    """S6: the stop comes at the instant in which the child before it has started."""
    gate = asyncio.get_running_loop().create_future()
    runtime = virtual_runtime(SupervisorSpec(children=[puppet("a", start=lambda ctx: asyncio.wait([gate])), puppet("b")]))
    starting = asyncio.get_running_loop().create_task(runtime.start())
    await asyncio.sleep(1.0)
    runtime.events.listen(lambda event: stopping.append(spawn(runtime.stop())) if isinstance(event, Started) else None)
    stopping, spawn = [], asyncio.get_running_loop().create_task
    gate.set_result(None)
    await asyncio.wait([starting])
    starting.exception()
    report = await stopping[0]
    assert (report.forced, report.ending) == ((), Ending.CLEAN)


# ---------------------------------------------------------------------------------------------- S7


@virtual
async def test_nothing_of_a_stopped_tree_is_left_in_the_loop():
    """S7: no task and no timer, after crashes, backoff, asks and monitors."""
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    below = SupervisorSpec(children=[puppet("x", start=lambda ctx: ctx.every("t", 1.0, "tick"))])
    inner = SupervisorSpec(Strategy.DYNAMIC)
    async with running(puppet(), ChildSpec("s", below), ChildSpec("d", inner)) as runtime:
        await runtime.supervisor("/d").start_child(puppet("y", start=lambda ctx: ctx.run("w", asyncio.sleep(1e6))))
        runtime.ref("/a").tell(lambda ctx: ctx.monitor(ctx.lookup("/s/x")) and None)
        for path in ("/a", "/s/x", "/a"):
            runtime.inject(path, OSError())
        await asyncio.sleep(10.0)
        await settled(runtime)
    assert asyncio.all_tasks() == before
    assert loop.timers() == []


@virtual
async def test_a_runtime_can_stop_while_a_child_waits_for_its_restart():
    """S7: the planned restart does not happen."""
    async with running(puppet()) as runtime:
        await crash(runtime, "/a")
        await until_event(runtime, lambda event: isinstance(event, Started))
        runtime.inject("/a", OSError())
        await until_event(runtime, lambda event: isinstance(event, RestartScheduled) and event.delay > 0)
        assert runtime.tree().find("/a").state is State.WAITING
        started = recorded(runtime, Started)
        report = await runtime.stop()
        await asyncio.sleep(100.0)
    assert (started, report.ending) == ([], Ending.CLEAN)
