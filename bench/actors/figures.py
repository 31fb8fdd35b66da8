"""What is measured of each contestant, and the one way in which it is measured.

Every contestant counts the messages it handles and answers an ask with that count, so a round that lost a message, or that
stopped its watch before the last one was handled, ends with an error and not with a figure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter

from attrs import frozen

CAPACITY = 1024
"""Messages that a mailbox holds: forebay's default, given to every contestant that has a bound."""


@frozen
class Sizes:
    """How many messages one round sends: the same to every contestant."""

    tells: int = 100_000
    asks: int = 10_000
    askers: int = 100
    warm_up: int = 2_000


@frozen
class Figures:
    """Messages handled per second. `together` is asks with many askers waiting at a time, None where that cannot be done."""

    tell: float
    ask: float
    together: float | None


class Lost(AssertionError):
    """A contestant did not handle what it was sent, so its time means nothing."""


def check(handled: int, expected: int) -> None:
    """Raise `Lost` unless every message was handled."""
    if handled != expected:
        raise Lost(f"{handled} messages were handled, not {expected}")


async def measure_async(
    tell: Callable[[int], Awaitable[object]], ask: Callable[[int], Awaitable[int]], sizes: Sizes
) -> Figures:
    """Measure a contestant of one event loop. `tell` waits for room where there is a bound."""
    for number in range(sizes.warm_up):
        await tell(number)
    before = await ask(0)

    start = perf_counter()
    for number in range(sizes.tells):
        await tell(number)
    handled = await ask(0)
    tells = sizes.tells / (perf_counter() - start)
    check(handled - before, sizes.tells + 1)

    start = perf_counter()
    for number in range(sizes.asks):
        last = await ask(number)
    asks = sizes.asks / (perf_counter() - start)
    check(last - handled, sizes.asks)

    async def several() -> None:
        for number in range(sizes.asks // sizes.askers):
            await ask(number)

    start = perf_counter()
    await asyncio.gather(*(several() for _ in range(sizes.askers)))
    together = sizes.asks / (perf_counter() - start)
    check(await ask(0) - last, sizes.asks + 1)
    return Figures(tells, asks, together)


def measure_sync(
    tell: Callable[[int], object],
    ask: Callable[[int], int],
    ask_together: Callable[[int], None] | None,
    sizes: Sizes,
) -> Figures:
    """Measure a contestant that blocks its caller. `ask_together(n)` asks n times before it waits for the first answer."""
    for number in range(sizes.warm_up):
        tell(number)
    before = ask(0)

    start = perf_counter()
    for number in range(sizes.tells):
        tell(number)
    handled = ask(0)
    tells = sizes.tells / (perf_counter() - start)
    check(handled - before, sizes.tells + 1)

    start = perf_counter()
    for number in range(sizes.asks):
        last = ask(number)
    asks = sizes.asks / (perf_counter() - start)
    check(last - handled, sizes.asks)
    if ask_together is None:
        return Figures(tells, asks, None)

    start = perf_counter()
    for _ in range(sizes.asks // sizes.askers):
        ask_together(sizes.askers)
    together = sizes.asks / (perf_counter() - start)
    check(ask(0) - last, sizes.asks + 1)
    return Figures(tells, asks, together)
