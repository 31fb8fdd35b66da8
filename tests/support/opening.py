"""A store that is being opened: nobody is to begin on what may be given up again, or be found unsuitable."""

import asyncio
from collections.abc import Awaitable, Callable

from forebay.backends.errors import Unavailable
from forebay.backends.ports import Coordination, Log, Queue


async def serves_nobody_before_it_is_open(port: Queue | Log | Coordination, call: Callable[[], Awaitable[object]]) -> None:
    """Stop `port` and start it again, with calls all the while: each raises `Unavailable`, or waits until it is open."""
    await port.stop()
    refused = 0
    starting = asyncio.create_task(port.start())
    await asyncio.sleep(0)
    while not starting.done():
        try:
            await call()
        except Unavailable:
            refused += 1
            await asyncio.sleep(0.0001)
        else:
            assert starting.done(), f"served after {refused} refusals, and before it was open"
    await starting
    await call()
