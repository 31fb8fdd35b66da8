"""Virtual time: what passes, in which order, and how a run that cannot go on says so."""

from __future__ import annotations

import asyncio
import gc
import math
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio._backends import _asyncio as anyio_backend

from forebay.scenarios.controls import GROWTH
from forebay.scenarios.loop import (
    Deadlock,
    Livelock,
    OutOfTime,
    Stuck,
    loop_factory,
    open_loop,
    run,
    running_loop,
)

HOUR = 3600.0


def now() -> float:
    return running_loop().time()


async def test_outside_a_virtual_loop_there_is_no_running_virtual_loop() -> None:
    with pytest.raises(TypeError, match="not virtual"):
        running_loop()


class TestTime:
    def test_ten_virtual_hours_pass_in_less_than_a_real_second(self) -> None:
        async def ticks() -> float:
            for _ in range(600):
                await asyncio.sleep(60)
            return now()

        began = time.perf_counter()
        assert run(ticks) == 10 * HOUR
        assert time.perf_counter() - began < 1

    def test_time_is_exactly_the_deadline_that_was_set(self) -> None:
        async def main() -> list[float]:
            loop = running_loop()
            seen: list[float] = []
            for when in (0.1, 0.3, 1e9 + 0.1):
                loop.call_at(when, lambda: seen.append(loop.time()))
            await asyncio.sleep(2e9)
            return seen

        assert run(main) == [0.1, 0.3, 1e9 + 0.1]

    def test_a_deadline_in_the_past_fires_now(self) -> None:
        async def main() -> float:
            await asyncio.sleep(5)
            fired = asyncio.Event()
            running_loop().call_at(1.0, fired.set)
            await fired.wait()
            return now()

        assert run(main) == 5.0

    def test_two_sleeps_that_end_together_wake_in_the_order_they_began(self) -> None:
        async def main() -> list[int]:
            woken: list[int] = []

            async def sleeper(number: int) -> None:
                await asyncio.sleep(1)
                woken.append(number)

            await asyncio.gather(*(sleeper(number) for number in range(50)))
            return woken

        assert run(main) == list(range(50))

    def test_timers_of_one_instant_fire_in_the_order_they_were_set(self) -> None:
        """A bare heap of `TimerHandle`s is not stable; without the numbers this order is lost."""

        async def main() -> list[int]:
            fired: list[int] = []
            for number in range(20):
                running_loop().call_at(7.0, fired.append, number)
            await asyncio.sleep(8)
            return fired

        assert run(main) == list(range(20))

    def test_cancelled_timers_do_not_move_the_clock(self) -> None:
        async def main() -> float:
            for _ in range(500):  # enough for the loop to sweep its heap
                running_loop().call_later(HOUR, print).cancel()
            await asyncio.sleep(1)
            return now()

        assert run(main) == 1.0


class TestLibraries:
    def test_anyio_deadlines_are_virtual(self) -> None:
        async def main() -> tuple[bool, float]:
            with anyio.move_on_after(30) as scope:
                await anyio.sleep(HOUR)
            return scope.cancelled_caught, anyio.current_time()

        assert run(main) == (True, 30.0)

    def test_anyio_sleep_forever_ends_with_its_scope(self) -> None:
        async def main() -> float:
            with anyio.move_on_after(2):
                await anyio.sleep_forever()
            return now()

        assert run(main) == 2.0

    def test_a_failing_child_cancels_its_anyio_group(self) -> None:
        async def main() -> set[str]:
            ended: set[str] = set()

            async def waits(name: str) -> None:
                try:
                    await anyio.sleep(HOUR)
                finally:
                    ended.add(name)

            async def fails() -> None:
                await anyio.sleep(1)
                raise ValueError("child")

            with pytest.raises(ExceptionGroup):  # noqa: PT012 - the group is the statement
                async with anyio.create_task_group() as group:
                    group.start_soon(waits, "a")
                    group.start_soon(fails)
                    group.start_soon(waits, "b")
            return ended

        assert run(main) == {"a", "b"}

    def test_a_bounded_queue_hands_over_in_order(self) -> None:
        async def main() -> list[int]:
            queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)

            async def produce() -> None:
                for number in range(10):
                    await queue.put(number)

            producer = asyncio.create_task(produce())
            got = [await queue.get() for _ in range(10)]
            await producer
            return got

        assert run(main) == list(range(10))


class TestStuck:
    def test_a_deadlock_names_each_task_what_it_waits_for_and_the_cycle(self) -> None:
        async def main() -> None:
            tasks: dict[str, asyncio.Task[None]] = {}

            async def await_other(name: str) -> None:
                await tasks[name]

            tasks["left"] = asyncio.create_task(await_other("right"), name="left")
            tasks["right"] = asyncio.create_task(await_other("left"), name="right")
            listener = asyncio.create_task(asyncio.Event().wait(), name="listener")
            await asyncio.gather(listener, *tasks.values())

        with pytest.raises(Deadlock) as caught:
            run(main)
        told = str(caught.value)
        assert "waits for task listener, task left, task right" in told
        assert "right: " in told
        assert "listener: Event.wait (locks.py:" in told
        assert "cycle: left -> right -> left" in told

    @pytest.mark.parametrize("sleep", [asyncio.sleep, anyio.sleep])
    def test_sleeping_for_ever_is_a_deadlock(self, sleep: Callable[[float], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            await sleep(math.inf)

        with pytest.raises(Deadlock, match="sleep"):
            run(main)

    def test_a_livelock_is_found_and_names_what_spins(self) -> None:
        async def spin() -> None:
            while True:
                await asyncio.sleep(0)

        async def main() -> None:
            await asyncio.sleep(3)
            spinner = asyncio.create_task(spin(), name="spinner")
            await spinner

        with pytest.raises(Livelock, match=r"at 3\.0 s.*[\s\S]*ready: task spinner x1"):
            run(main, passes_per_instant=50)

    def test_a_livelock_of_callbacks_names_the_callback(self) -> None:
        def again() -> None:
            running_loop().call_soon(again)

        async def main() -> None:
            again()
            await asyncio.Event().wait()

        with pytest.raises(Livelock, match=r"ready: callback .*again x1"):
            run(main, passes_per_instant=50)

    def test_a_task_that_the_loop_did_not_make_is_told_last(self) -> None:
        async def main() -> None:
            foreign = asyncio.Task(asyncio.Event().wait(), loop=running_loop(), name="a-foreign")
            own = asyncio.create_task(asyncio.Event().wait(), name="own")
            await asyncio.wait([foreign, own])

        with pytest.raises(Deadlock, match=r"own: Event[\s\S]*a-foreign: Event"):
            run(main)

    def test_many_passes_spread_over_instants_are_no_livelock(self) -> None:
        async def main() -> float:
            for _ in range(200):
                await asyncio.sleep(0.5)
            return now()

        assert run(main, passes_per_instant=20) == 100.0

    def test_a_run_ends_at_its_horizon(self) -> None:
        async def heartbeat() -> None:
            while True:
                await asyncio.sleep(1)

        async def main() -> None:
            beating = asyncio.create_task(heartbeat(), name="beating")
            await asyncio.Event().wait()
            beating.cancel()

        with pytest.raises(OutOfTime, match=r"61\.0 s, is past the horizon"):
            run(main, horizon=60)

    def test_deadlock_after_an_unrelated_failure_is_a_note_on_it(self) -> None:
        async def stubborn() -> None:
            try:
                await asyncio.sleep(1)
            finally:
                await asyncio.Event().wait()

        async def main() -> None:
            keep = asyncio.create_task(stubborn(), name="stubborn")
            await asyncio.sleep(0)
            raise ValueError(keep.get_name())

        with pytest.raises(ValueError, match="stubborn") as caught:
            run(main)
        assert any("stubborn: " in note for note in caught.value.__notes__)


class TestEnd:
    def test_left_over_tasks_are_cancelled_oldest_first(self) -> None:
        ended: list[int] = []

        async def waits(number: int) -> None:
            try:
                await asyncio.sleep(HOUR)
            finally:
                ended.append(number)

        async def main() -> None:
            keep: list[asyncio.Task[None]] = []
            for number in range(30):
                keep.append(asyncio.create_task(waits(number)))
                await asyncio.sleep(1)  # what is made meanwhile takes the numbers in between

        run(main)
        assert ended == list(range(30))

    def test_a_left_over_task_that_fails_is_told_to_the_exception_handler(self) -> None:
        told: list[str] = []

        async def fails() -> None:
            try:
                await asyncio.sleep(HOUR)
            finally:
                raise ValueError("cleaning up")

        async def main() -> None:
            running_loop().set_exception_handler(lambda _, told_: told.append(repr(told_["exception"])))
            keep = asyncio.create_task(fails())
            await asyncio.sleep(1)
            assert not keep.done()

        run(main)
        assert told == ["ValueError('cleaning up')"]

    def test_left_over_generators_are_closed_oldest_first(self) -> None:
        ended: list[int] = []

        async def numbers(number: int) -> AsyncIterator[int]:
            try:
                while True:
                    yield number
            finally:
                ended.append(number)

        kept = [numbers(number) for number in range(30)]

        async def main() -> None:
            for generator in kept:
                await anext(generator)

        run(main)
        assert ended == list(range(30))

    def test_tasks_left_in_a_cycle_fail_the_run_instead_of_overflowing_the_stack(self) -> None:
        """CPython passes a cancellation round a cycle of tasks until RecursionError."""
        tasks: list[asyncio.Task[None]] = []

        async def await_other(index: int) -> None:
            await tasks[index]

        async def main() -> None:
            tasks.extend(asyncio.create_task(await_other(1 - index)) for index in range(2))
            await asyncio.sleep(0)

        with pytest.raises(Deadlock, match="wait for each other"):
            run(main)

    @pytest.mark.parametrize("failure", [ValueError, None])
    def test_everything_is_undone_however_the_run_ends(self, failure: type[Exception] | None) -> None:
        before = (anyio_backend.CancelScope, time.monotonic, gc.isenabled())
        during: list[tuple[object, ...]] = []

        async def main() -> None:
            during.append((anyio_backend.CancelScope, time.monotonic, gc.isenabled()))
            if failure is None:
                await asyncio.Event().wait()
            else:
                raise failure

        with pytest.raises(failure or Deadlock):
            run(main)
        assert all(one != other for one, other in zip(before, during[0], strict=True))
        assert (anyio_backend.CancelScope, time.monotonic, gc.isenabled()) == before

    def test_a_disabled_collector_stays_disabled(self) -> None:
        gc.disable()
        try:
            run(asyncio.sleep, 1)
            assert not gc.isenabled()
        finally:
            gc.enable()

    def test_what_loops_leave_is_collected_before_it_fills_the_memory(self) -> None:
        class World:
            def __init__(self) -> None:
                self.me = self
                self.much = [str(number) for number in range(GROWTH // 4)]

        left: list[weakref.ref[World]] = []

        async def main() -> None:
            left.append(weakref.ref(World()))

        most = 0
        for _ in range(20):
            run(main)
            most = max(most, sum(world() is not None for world in left))
        assert 1 <= most <= 6

    def test_garbage_is_collected_at_counted_passes(self) -> None:
        class Node:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                died.append(now())

        died: list[float] = []

        async def main() -> None:
            Node()
            for _ in range(12_000):
                await asyncio.sleep(1)

        run(main)
        first = list(died)
        died.clear()
        run(main)
        assert first == died
        assert len(first) == 1

    def test_a_loop_can_be_run_again_after_it_was_stuck(self) -> None:
        with open_loop() as loop:
            with pytest.raises(Stuck):
                loop.run_until_complete(asyncio.Event().wait())
            loop.run_until_complete(asyncio.sleep(4))
            assert loop.time() == 4.0

    def test_a_second_loop_in_the_same_process_is_refused(self) -> None:
        loop = loop_factory()()
        inner = loop_factory()()

        async def nested() -> None:
            with pytest.raises(RuntimeError, match="another virtual loop"):
                inner.run_forever()

        loop.run_until_complete(nested())
        loop.close()
        inner.close()


class TestExploration:
    @staticmethod
    async def wake_order() -> tuple[int, ...]:
        woken: list[int] = []

        async def sleeper(number: int) -> None:
            await asyncio.sleep(1)
            woken.append(number)

        await asyncio.gather(*(sleeper(number) for number in range(10)))
        return tuple(woken)

    def test_seeds_differ_in_schedule_and_each_repeats_itself(self) -> None:
        orders = [run(self.wake_order, seed=seed, explore=True) for seed in range(8)]
        assert orders == [run(self.wake_order, seed=seed, explore=True) for seed in range(8)]
        assert len(set(orders)) == 8

    def test_without_exploration_the_seed_does_not_matter(self) -> None:
        assert run(self.wake_order, seed=1) == run(self.wake_order, seed=2) == tuple(range(10))

    def test_plain_callbacks_keep_their_order(self) -> None:
        """asyncio promises first in, first out for `call_soon`; only tasks are mixed."""

        async def main() -> list[int]:
            called: list[int] = []
            for number in range(20):
                running_loop().call_soon(called.append, number)
            await asyncio.sleep(1)
            return called

        assert all(run(main, seed=seed, explore=True) == list(range(20)) for seed in range(10))

    def test_timers_of_one_instant_are_mixed(self) -> None:
        async def main() -> tuple[int, ...]:
            fired: list[int] = []
            for number in range(10):
                running_loop().call_at(1.0, fired.append, number)
            await asyncio.sleep(2)
            return tuple(fired)

        assert len({run(main, seed=seed, explore=True) for seed in range(5)}) == 5


def test_a_closed_loop_takes_no_timers() -> None:
    loop = loop_factory()()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)


def test_tasks_without_a_name_are_named_by_the_loop_and_not_by_the_process() -> None:
    async def main() -> str:
        return asyncio.create_task(asyncio.sleep(0)).get_name()

    assert run(main) == run(main)


def test_the_runner_of_the_standard_library_takes_the_factory() -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert runner.run(asyncio.sleep(HOUR, "result")) == "result"
