"""What an ask is made of: two passes of the asyncio loop, and what forebay does around them.

An ask between two tasks takes two passes at least: the first wakes the actor, the second the asker. The other parts are
timed on the objects of a running actor, each alone, so their sum leaves out what they cost one another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from timeit import repeat

from attrs import frozen
from contestants.forebay_actor import Counter

from forebay.actors.ask import Ask
from forebay.actors.cell import Cell
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, SupervisorSpec

TIMES = 20_000
TRIES = 7


@frozen
class Parts:
    """Microseconds of each, the least of the tries: what disturbs only ever adds."""

    one_pass: float
    futures: float
    expiry: float
    clock: float
    books: float
    handler: float


async def measure() -> Parts:
    """Time each part on a running actor."""
    async with Runtime(SupervisorSpec(children=(ChildSpec("counter", Counter),))) as runtime:
        ref = runtime.ref("/counter")
        await ref.ask(1, 5.0)
        cell = ref.place
        return Parts(
            one_pass=await least(lambda: asyncio.sleep(0)),
            futures=least_of(_futures) - least_of(_nothing),
            expiry=least_of(_expiry(cell)) - least_of(_nothing),
            clock=least_of(_clock) - least_of(_nothing),
            books=least_of(_books(cell)) - least_of(_nothing),
            handler=await _handler(cell),
        )


async def least(make: Callable[[], object]) -> float:
    """Return the microseconds of awaiting what `make` makes."""
    tries = []
    for _ in range(TRIES):
        began = perf_counter()
        for _ in range(TIMES):
            await make()  # type: ignore[misc]
        tries.append((perf_counter() - began) / TIMES * 1e6)
    return min(tries)


def least_of(call: Callable[[], object]) -> float:
    """Return the microseconds of one call."""
    return min(repeat(call, number=TIMES, repeat=TRIES)) / TIMES * 1e6


def _nothing() -> None:
    pass


def _futures() -> None:
    """The reply's future and the reader's, and the ask that goes into the mailbox."""
    loop = asyncio.get_running_loop()
    Ask(1, loop.create_future())
    loop.create_future()


def _expiry(cell: Cell) -> Callable[[], None]:
    expiry, ask = cell.system.expiry, Ask(1, asyncio.get_running_loop().create_future())
    deadline = asyncio.get_running_loop().time() + 5.0
    return lambda: expiry.remove(expiry.add(ask, cell.path, 5.0, deadline))


def _clock() -> None:
    """The deadline."""
    asyncio.get_running_loop().time() + 5.0


def _books(cell: Cell) -> Callable[[], None]:
    """What the reader notes when it wakes and when it waits again: who is busy, for how long, the depth seen."""
    clock, busy, process, mailbox = asyncio.get_running_loop().time, set[object](), cell.process, cell.mailbox

    def note() -> None:
        busy.add(process)
        mailbox.high_water = max(mailbox.high_water, len(mailbox.user))
        awake = clock()
        busy.discard(process)
        cell.busy += clock() - awake

    return note


async def _handler(cell: Cell) -> float:
    assert cell.process is not None
    actor, context = Counter(), cell.process.context
    return await least(lambda: actor.on_message(context, 1))
