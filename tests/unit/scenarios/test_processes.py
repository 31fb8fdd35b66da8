"""Simulated processes: what still runs of one that is paused or dead (F2, F3)."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from forebay.scenarios.loop import Deadlock, run, running_loop
from forebay.scenarios.owner import OWNER, unowned
from forebay.scenarios.simulation.process import Being, HostGone, Process


def process(name="a"):
    return Process(running_loop(), name, 1)


def started(one, act):
    """Run `act` in a process without waiting for it."""
    task = asyncio.ensure_future(one.run(act))
    task.add_done_callback(lambda done: done.exception())
    return task


class Steps:
    """Writes down the time of each of its steps, one a second, and its end."""

    def __init__(self):
        self.seen = []

    async def walk(self):
        try:
            while True:
                self.seen.append(running_loop().time())
                await asyncio.sleep(1)
        finally:
            self.seen.append("finally")
            await asyncio.sleep(0)
            self.seen.append("after")


def test_a_killed_process_runs_no_line_more_not_even_its_finally():
    steps = Steps()

    async def main():
        one = process()
        started(one, steps.walk)
        await asyncio.sleep(2.5)
        one.kill()
        await asyncio.sleep(100)
        return one.being, list(steps.seen)

    assert run(main) == (Being.DEAD, [0.0, 1.0, 2.0])


def test_what_was_ready_in_the_instant_of_the_kill_does_not_run():
    seen = []

    async def note():
        seen.append("ran")

    async def main():
        one = process()
        started(one, note)
        await asyncio.sleep(0)  # the task of the process is ready now, behind this one
        one.kill()
        await asyncio.sleep(1)

    run(main)
    assert seen == []


def test_a_paused_process_finds_its_timers_overdue_and_goes_on_in_order():
    seen = []

    async def main():
        one = process()

        async def timers():
            loop = running_loop()
            for name, delay in (("late", 3), ("early", 1), ("after", 20)):
                loop.call_later(delay, lambda name=name: seen.append((name, loop.time())))
            await asyncio.sleep(30)

        started(one, timers)
        await asyncio.sleep(0.5)
        one.pause()
        await asyncio.sleep(9.5)
        assert seen == []
        one.resume()
        await asyncio.sleep(15)

    run(main)
    assert seen == [("early", 10.0), ("late", 10.0), ("after", 20.0)]


def test_a_paused_process_can_be_killed_and_then_never_goes_on():
    steps = Steps()

    async def main():
        one = process()
        started(one, steps.walk)
        await asyncio.sleep(0.5)
        one.pause()
        await asyncio.sleep(5)
        one.kill()
        one.resume()
        await asyncio.sleep(5)
        return list(steps.seen)

    assert run(main) == [0.0]


def test_the_answer_of_a_service_reaches_a_paused_process_when_it_goes_on():
    seen = []

    async def main():
        loop, one = running_loop(), process()

        async def ask():
            answer = loop.create_future()
            loop.call_later(1, answer.set_result, "yes", context=unowned())
            seen.append((await answer, loop.time()))

        started(one, ask)
        await asyncio.sleep(0.5)
        one.pause()
        await asyncio.sleep(4.5)
        one.resume()
        await asyncio.sleep(1)

    run(main)
    assert seen == [("yes", 5.0)]


def test_what_a_service_does_for_a_process_is_done_though_the_process_died():
    done = []

    async def main():
        one = process()

        async def ask():
            running_loop().call_later(1, done.append, "written", context=unowned())
            running_loop().call_later(1, done.append, "mine")
            await asyncio.sleep(9)

        started(one, ask)
        await asyncio.sleep(0.5)
        one.kill()
        await asyncio.sleep(2)

    run(main)
    assert done == ["written"]


def test_whoever_waits_for_a_process_learns_that_it_is_gone():
    async def main():
        one = process()
        call = asyncio.ensure_future(one.run(lambda: asyncio.sleep(10)))
        await asyncio.sleep(1)
        one.kill()
        with pytest.raises(HostGone, match="a was killed"):
            await call
        with pytest.raises(HostGone, match="start it first"):
            await one.run(lambda: asyncio.sleep(0))

    run(main)


def test_a_call_returns_what_its_process_returned_or_raises_what_it_raised():
    async def fail():
        raise LookupError("x")

    async def main():
        one = process()
        assert await one.run(lambda: asyncio.sleep(1, "slept")) == "slept"
        with pytest.raises(LookupError, match="x"):
            await one.run(fail)

    run(main)


def test_all_that_a_process_starts_is_its_own_and_nothing_else():
    owners = {}

    async def main():
        one, other = process("a"), process("b")

        async def note(name):
            owners[name] = OWNER.get()

        async def nested():
            await asyncio.create_task(note("nested"))

        await one.run(nested)
        await other.run(lambda: note("other"))
        await note("outside")
        return one, other

    one, other = run(main)
    assert owners == {"nested": one, "other": other, "outside": None}


def test_a_run_ends_quietly_with_dead_and_paused_processes_left_in_it():
    class Stubborn:
        @asynccontextmanager
        async def held(self):
            try:
                yield
            finally:
                await asyncio.sleep(0)
                raise ValueError("nobody hears it")

        async def numbers(self):
            try:
                yield 1
                await asyncio.sleep(9)
            finally:
                await asyncio.sleep(0)

        async def hold(self):
            async with self.held():
                async for _ in self.numbers():
                    await asyncio.sleep(5)

    async def main():
        for name, verb in (("a", Process.kill), ("b", Process.pause)):
            one = process(name)
            started(one, Stubborn().hold)
            await asyncio.sleep(1)
            verb(one)
        return running_loop().time()

    assert run(main) == 2.0


def test_a_deadlock_names_nobody_who_is_dead():
    async def main():
        one = process()
        started(one, lambda: asyncio.sleep(1e6))
        await asyncio.sleep(1)
        one.kill()
        await running_loop().create_future()

    with pytest.raises(Deadlock) as deadlock:
        run(main)
    assert "a#1" not in str(deadlock.value)
