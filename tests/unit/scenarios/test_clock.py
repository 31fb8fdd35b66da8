"""The clock port on virtual time."""

from __future__ import annotations

import asyncio

from forebay.backends.ports import Clock
from forebay.scenarios.clock import EPOCH_MS, VirtualClock
from forebay.scenarios.loop import run, running_loop


async def read() -> list[tuple[float, int]]:
    clock: Clock = running_loop().clock
    before = (clock.monotonic(), clock.wall())
    await asyncio.sleep(1.001)
    return [before, (clock.monotonic(), clock.wall())]


def test_monotonic_and_wall_move_with_virtual_time_from_a_fixed_epoch() -> None:
    assert run(read) == [(0.0, EPOCH_MS), (1.001, EPOCH_MS + 1001)]


def test_each_host_has_its_own_skew_and_a_jump_leaves_monotonic_alone() -> None:
    clock, other = VirtualClock(lambda: 10.0, skew_ms=-250), VirtualClock(lambda: 10.0)
    assert clock.wall() == other.wall() - 250
    clock.skew_ms = 5_000
    assert clock.wall() == EPOCH_MS + 15_000
    assert clock.monotonic() == 10.0
