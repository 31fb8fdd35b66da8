"""Moving jobs whose time has come, at a pace that follows the next one due."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from attrs import field, frozen

from forebay.actors.context import Context
from forebay.backends.errors import Unavailable
from forebay.backends.ports import Moved
from forebay.config.values import Backoff

LIMIT: Final = 1000
"""Jobs moved in one call."""


@frozen
class Pace:
    """The shortest and the longest time from one call to the next, in seconds."""

    shortest: float = field()
    longest: float = field()

    def __attrs_post_init__(self) -> None:
        if not 0 < self.shortest <= self.longest:
            raise ValueError(f"a pace of {self.shortest} to {self.longest} s; it must be 0 < shortest <= longest")

    def until(self, due: int | None, now: int) -> float:
        """Seconds until `due`, within the bounds (both Unix ms); None is as late as can be."""
        if due is None:
            return self.longest
        return min(self.longest, max(self.shortest, (due - now) / 1000))


async def sweep(
    ctx: Context, move: Callable[[int], Awaitable[Moved]], pace: Pace, backoff: Backoff, note: Callable[[int], None]
) -> None:
    """Call `move(limit)` for ever: at once while there is more, else when the next job is due. `note` hears the counts.

    `Unavailable` is waited out; any other error of `move` ends it.
    """
    failures = 0
    while True:
        try:
            moved = await move(LIMIT)
        except Unavailable:
            failures += 1
            await asyncio.sleep(backoff.delay(failures, ctx.random))
            continue
        failures = 0
        if moved.count:
            note(moved.count)
        if moved.count < LIMIT:
            await asyncio.sleep(pace.until(moved.next_due, ctx.wall()))
