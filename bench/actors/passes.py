"""What one pass of the asyncio loop costs with a single task that gives way: the unit that an ask is made of.

An ask between two tasks takes two passes at least: the first wakes the actor, the second the asker.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from attrs import frozen

PASSES = 20_000
TRIES = 5


@frozen
class Passes:
    """Microseconds of one pass, the least of the tries: what disturbs only ever adds."""

    one: float


async def measure(passes: int = PASSES) -> Passes:
    """Time `asyncio.sleep(0)`, again and again."""
    tries = []
    for _ in range(TRIES):
        began = perf_counter()
        for _ in range(passes):
            await asyncio.sleep(0)
        tries.append((perf_counter() - began) / passes * 1e6)
    return Passes(min(tries))
