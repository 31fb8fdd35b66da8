"""Hosts of a simulation: lives of runtimes, one after the other (F2)."""

import asyncio
import contextlib

import pytest

from forebay.actors.actor import Actor
from forebay.actors.events import Exited
from forebay.config.values import Backoff, Intensity
from forebay.scenarios.loop import run, running_loop
from forebay.scenarios.simulation.host import Host
from forebay.scenarios.simulation.process import Being, HostGone
from forebay.scenarios.virtual import virtual_runtime
from forebay.supervisors.runtime import RuntimeStartFailed
from forebay.supervisors.spec import ChildSpec, SupervisorSpec


class Ticker(Actor):
    """Counts seconds, and fails at a number that it is told."""

    def __init__(self, ticks, fails_at=None):
        self.ticks, self.fails_at = ticks, fails_at

    async def on_start(self, ctx):
        ctx.every("tick", 1.0, "tick")

    async def on_message(self, ctx, message):
        self.ticks.append(running_loop().time())
        if len(self.ticks) == self.fails_at:
            raise ValueError("told to")


class Site:
    """One host and what became of it."""

    def __init__(self, fails_at=None, start_fails=False):
        self.ticks, self.notes, self.fails_at, self.start_fails = [], [], fails_at, start_fails
        self.host = Host("a", self.boot, lambda host, what: self.notes.append((host.lives, what)))

    def boot(self, host):
        def child():
            if self.start_fails:
                raise LookupError("cannot start")
            return Ticker(self.ticks, self.fails_at)

        tree = SupervisorSpec(children=[ChildSpec("ticker", child)], intensity=Intensity(0, 1.0), backoff=Backoff(0.1, 1.0))
        return virtual_runtime(tree)


def test_each_life_is_a_new_runtime_and_a_dead_one_runs_no_more():
    async def main():
        site = Site()
        assert site.host.being is Being.DEAD
        assert await site.host.start()
        assert not await site.host.start()
        first = site.host.runtime
        await asyncio.sleep(2.5)
        assert site.host.kill()
        assert not site.host.kill()
        await asyncio.sleep(5)
        assert len(site.ticks) == 2
        await site.host.start()
        assert site.host.runtime is not first
        await asyncio.sleep(1.5)
        assert len(site.ticks) == 3
        report = await site.host.terminate()
        assert report.ending.value == "clean"
        assert await site.host.terminate() is None
        assert site.notes == [(1, "Started"), (1, "Ended"), (2, "Started"), (2, "Ended")]

    run(main)


def test_a_paused_host_takes_up_its_timers_late():
    async def main():
        site = Site()
        await site.host.start()
        await asyncio.sleep(1.5)
        assert site.host.pause()
        assert not site.host.pause()
        await asyncio.sleep(10)
        assert site.ticks == [1.0]
        assert site.host.resume()
        assert not site.host.resume()
        await asyncio.sleep(0.1)
        assert site.ticks[1] == 11.5

    run(main)


def test_a_runtime_that_gives_up_ends_its_process():
    async def main():
        site = Site(fails_at=2)
        await site.host.start()
        await asyncio.sleep(10)
        assert site.host.being is Being.DEAD
        assert "told to" in str(site.host.failure)
        assert site.notes == [(1, "Started"), (1, "GaveUp"), (1, "Ended")]

    run(main)


def test_a_start_that_fails_is_raised_and_leaves_a_dead_host():
    async def main():
        site = Site(start_fails=True)
        with pytest.raises(RuntimeStartFailed, match="cannot start"):
            await site.host.start()
        assert site.host.being is Being.DEAD

    run(main)


def test_whoever_starts_or_stops_a_host_that_is_killed_meanwhile_learns_it():
    async def main():
        site = Site()
        with pytest.raises(HostGone, match="was not started"):
            _ = site.host.runtime
        await site.host.start()
        stopping = asyncio.ensure_future(site.host.terminate())
        await asyncio.sleep(0)
        site.host.kill()
        with pytest.raises(HostGone):
            await stopping

    run(main)


def test_a_host_may_be_stopped_while_it_starts():
    async def main():
        site = Site()
        for steps in range(12):
            starting = asyncio.ensure_future(site.host.start())
            for _ in range(steps):
                await asyncio.sleep(0)
            await site.host.terminate()
            with contextlib.suppress(HostGone):
                await starting
            site.host.kill()
            starts = sum(what == "Started" for _, what in site.notes)
            assert starts == sum(what == "Ended" for _, what in site.notes) == site.host.lives

    run(main)


def test_a_wall_clock_that_is_wrong_stays_wrong_over_lives_and_moves_no_deadline():
    async def main():
        site = Site()
        right = site.host.clock.wall()
        assert site.host.skew(-3600)
        assert not site.host.skew(-3600)
        await site.host.start()
        assert site.host.clock.wall() == right - 3_600_000
        assert site.host.clock.monotonic() == running_loop().time()

    run(main)


def test_an_event_is_seen_by_those_outside():
    async def main():
        site, seen = Site(fails_at=1), []
        await site.host.start()
        site.host.runtime.events.listen(seen.append)
        await asyncio.sleep(2)
        assert any(isinstance(event, Exited) for event in seen)

    run(main)
