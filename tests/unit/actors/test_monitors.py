"""Monitors: rule D7 of docs/semantics.md."""

import asyncio

import pytest
from support.puppets import Puppet, boom, puppet, running, settled, virtual

from forebay import ChildSpec, Down, Failed, Limits, Normal, Restart, Shutdown, SupervisorSpec, describe
from forebay.testing import crash, virtual_runtime


class Watcher(Puppet):
    """Keeps the `Down`s it gets."""

    async def on_message(self, ctx, message):
        if isinstance(message, Down):
            self.seen.append(message)
        else:
            await super().on_message(ctx, message)


def watcher(downs, **spec):
    return ChildSpec("watcher", lambda: Watcher(downs), **spec)


def watching(ref, numbers=None):
    def monitor(ctx):
        number = ctx.monitor(ref)
        if numbers is not None:
            numbers.append(number)

    return monitor


async def watch(runtime, path, times=1):
    for _ in range(times):
        runtime.ref("/watcher").tell(watching(runtime.ref(path)))
    await settled(runtime, "/watcher")


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda runtime: runtime.ref("/a").tell(lambda ctx: ctx.stop("enough")), "normal: enough"),
        (lambda runtime: runtime.ref("/a").tell(boom), "failed: ValueError: boom"),
        (lambda runtime: runtime.inject("/a", OSError("disk")), "failed: OSError: disk"),
        (lambda runtime: runtime.ref("/a").place.process.task.cancel(), "killed: cancelled from outside"),
    ],
)
def test_exactly_one_down_comes_with_the_exit_of_the_incarnation(end, told):
    """D7: however it ended, and although the actor has been started again since."""

    @virtual
    async def main():
        downs = []
        async with running(watcher(downs), puppet()) as runtime:
            await watch(runtime, "/a")
            end(runtime)
            await asyncio.sleep(1.0)
            await crash(runtime, "/a")
            await asyncio.sleep(1.0)
        return [(down.path, down.incarnation, describe(down.exit)) for down in downs]

    assert main() == [("/a", 1, told)]


@virtual
async def test_each_monitor_gets_its_own_down():
    """D7."""
    downs, numbers = [], []
    async with running(watcher(downs), puppet()) as runtime:
        for _ in range(3):
            runtime.ref("/watcher").tell(watching(runtime.ref("/a"), numbers))
        await settled(runtime, "/watcher")
        await crash(runtime, "/a")
        await settled(runtime, "/watcher")
    assert [down.monitor for down in downs] == numbers
    assert len(set(numbers)) == 3


@virtual
async def test_a_down_comes_at_once_when_no_incarnation_runs():
    """D7: stopped for now, or removed for good."""
    downs = []
    async with running(watcher(downs), puppet("stopped"), puppet("gone", restart=Restart.TEMPORARY)) as runtime:
        gone = runtime.ref("/gone")
        await runtime.supervisor().terminate_child("stopped")
        await runtime.supervisor().terminate_child("gone")
        runtime.ref("/watcher").tell(watching(runtime.ref("/stopped")))
        runtime.ref("/watcher").tell(watching(gone))
        await settled(runtime, "/watcher")
        assert [(down.path, type(down.exit)) for down in downs] == [("/stopped", Shutdown), ("/gone", Shutdown)]


@virtual
async def test_a_monitor_that_was_taken_back_stays_silent_also_with_its_down_on_the_way():
    """D7."""
    downs = []

    async def too_late(ctx):
        number = ctx.monitor(ctx.lookup("/a"))
        ctx.lookup("/a").tell(boom)
        await asyncio.sleep(1.0)  # its Down is in the system lane now
        ctx.demonitor(number)

    async def in_time(ctx):
        ctx.demonitor(ctx.monitor(ctx.lookup("/a")))
        ctx.demonitor(999)

    async with running(watcher(downs), puppet()) as runtime:
        for message in (in_time, too_late):
            runtime.ref("/watcher").tell(message)
        await settled(runtime, "/watcher")
        await crash(runtime, "/a")
        await settled(runtime, "/watcher")
    assert downs == []


@virtual
async def test_monitors_end_with_the_incarnation_that_set_them():
    """D7: the next incarnation's numbers begin anew and are not mistaken for the old."""
    downs = []
    async with running(watcher(downs), puppet("a"), puppet("b")) as runtime:
        await watch(runtime, "/a")
        await crash(runtime, "/watcher")
        await asyncio.sleep(1.0)
        await watch(runtime, "/b")
        await crash(runtime, "/a")
        await asyncio.sleep(1.0)
        assert downs == []
        assert runtime.ref("/a").place.watchers is None
        await crash(runtime, "/b")
        await settled(runtime, "/watcher")
    assert [down.path for down in downs] == ["/b"]


@virtual
async def test_a_monitor_reaches_into_another_runtime_of_the_same_loop():
    """D7: the actor that the ref names is watched, not the one of the same path at home."""
    downs = []
    async with running(watcher(downs), puppet()) as here, virtual_runtime(SupervisorSpec(children=[puppet()])) as there:
        here.ref("/watcher").tell(watching(there.ref("/a")))
        await settled(here, "/watcher")
        await crash(here, "/a", OSError("here"))
        await settled(here, "/watcher")
        assert downs == []
        await crash(there, "/a", OSError("there"))
        await settled(here, "/watcher")
    assert [describe(down.exit) for down in downs] == ["failed: OSError: there"]


@virtual
async def test_an_abandoned_incarnation_counts_as_ended():
    """D7, S4."""

    async def deaf(ctx):
        while True:
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                if stubborn[0]:
                    continue
                raise

    downs, stubborn = [], [True]
    async with running(watcher(downs), puppet(limits=Limits(shutdown=1.0))) as runtime:
        await watch(runtime, "/a")
        runtime.ref("/a").tell(deaf)
        await asyncio.sleep(1.0)
        zombie = runtime.ref("/a").place.process.task
        await runtime.supervisor().terminate_child("a")
        await settled(runtime, "/watcher")
        stubborn[0] = False
        zombie.cancel()
    assert [describe(down.exit) for down in downs] == ["abandoned: ignored cancellation"]


@virtual
async def test_what_a_down_says_of_the_exit():
    downs = []
    async with running(watcher(downs), puppet()) as runtime:
        await watch(runtime, "/a")
        error = ValueError("this very one")
        await crash(runtime, "/a", error)
        await settled(runtime, "/watcher")
        await asyncio.sleep(1.0)
        await watch(runtime, "/a")
        runtime.ref("/a").tell(lambda ctx: ctx.stop())
        await asyncio.sleep(1.0)
    assert (downs[0].exit, downs[1].exit) == (Failed(error), Normal("done"))
