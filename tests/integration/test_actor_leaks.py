"""Ten thousand restarts and a thousand start-stops leave nothing behind (A2; rule S7 of docs/semantics.md)."""

import asyncio
import gc
import sys
import threading
import weakref

import pytest
from support.effort import examples
from support.puppets import Puppet, puppet
from support.sockets import open_files

from forebay import ChildSpec, Down, Ending, EnvironmentExit, Intensity, Runtime, SupervisorSpec

RESTARTS = examples(10_000, 100_000)
START_STOPS = examples(1_000, 10_000)

# Blocks of the interpreter's allocator that may be left per cycle. Whatever is kept for one cycle (an exit, a task, a
# traceback, a future) is at least one block for each; tables that grow once in a while are a few in thousands of cycles.
BLOCKS_PER_CYCLE = 0.1


class Restless(Puppet):
    """Fails at each message, with a timer, a task, a monitor and an unanswered ask in hand."""

    async def on_start(self, ctx):
        ctx.every("tick", 60.0, "tick")
        ctx.run("work", asyncio.sleep(60.0))
        ctx.monitor(ctx.lookup("/witness"))

    async def on_message(self, ctx, message):
        ctx.caller()
        raise EnvironmentExit("as asked")


class Witness(Puppet):
    """Watches the other, over all its incarnations, and counts their ends."""

    def __init__(self):
        super().__init__()
        self.ends = 0

    async def on_message(self, ctx, message):
        if isinstance(message, Down):
            self.ends += 1
        else:
            await super().on_message(ctx, message)


def blocks():
    """How many blocks of memory are in use."""
    gc.collect()
    return sys.getallocatedblocks()


def resources():
    return threading.active_count(), len(open_files()), len(asyncio.all_tasks())


async def crash_and_wait(runtime, times):
    """Crash the actor so often, each time as soon as it runs again."""
    ref = runtime.ref("/a")
    for _ in range(times):
        runtime.ref("/witness").tell(lambda ctx: ctx.monitor(ref) and None)
        ref.tell("fail")
        incarnation = ref.place.incarnation
        while ref.place.incarnation == incarnation or ref.place.process is None or not ref.place.process.started:
            await asyncio.sleep(0)


@pytest.mark.slow
async def test_ten_thousand_restarts_leave_no_task_no_memory_and_no_descriptor(record_figure):
    """A2: one place in the tree, so often failed and started again."""
    tree = SupervisorSpec(
        children=[ChildSpec("witness", Witness), ChildSpec("a", Restless)],
        stable_after=0.0,  # each failure is a first one: no backoff
        intensity=Intensity(max_restarts=3, period=5.0),
    )
    async with Runtime(tree) as runtime:
        await crash_and_wait(runtime, 500)  # tables and caches have their size now
        before, memory = resources(), blocks()
        await crash_and_wait(runtime, RESTARTS)
        left = (blocks() - memory) / RESTARTS
        assert resources() == before
        assert runtime.tree().find("/a").restarts == RESTARTS + 500
        assert runtime.ref("/witness").place.process.actor.ends >= RESTARTS
    record_figure("memory held per restart", round(left, 4), "blocks")
    assert left < BLOCKS_PER_CYCLE


@pytest.mark.slow
async def test_a_thousand_start_stops_leave_no_task_no_memory_and_no_descriptor(record_figure):
    """A5: whole runtimes in one loop."""

    async def cycle():
        tree = SupervisorSpec(children=[puppet("a"), ChildSpec("s", SupervisorSpec(children=[puppet("x"), puppet("y")]))])
        async with Runtime(tree) as runtime:
            assert await runtime.ref("/s/y").ask(lambda ctx: ctx.reply(1), 5) == 1
        assert runtime.report.ending is Ending.CLEAN

    for _ in range(50):
        await cycle()
    before, memory = resources(), blocks()
    for _ in range(START_STOPS):
        await cycle()
    left = (blocks() - memory) / START_STOPS
    assert resources() == before
    record_figure("memory held per start and stop", round(left, 4), "blocks")
    assert left < BLOCKS_PER_CYCLE


async def test_an_ended_incarnation_can_be_collected():
    """A2: nothing holds the actor object of an incarnation that has ended."""
    objects = weakref.WeakSet()

    class Tracked(Restless):
        def __init__(self):
            super().__init__()
            objects.add(self)

    tree = SupervisorSpec(children=[ChildSpec("witness", Witness), ChildSpec("a", Tracked)], stable_after=0.0)
    async with Runtime(tree) as runtime:
        await crash_and_wait(runtime, 20)
        gc.collect()
        assert len(objects) <= 2  # the living one, and the last, whose error's traceback is its last exit
