"""Waiting for a future that belongs to someone else.

`await future` cancels the future when the waiter is cancelled; here the waiter has a future of its own. One helper instead
of asyncio.wait or wait_for: their order is not reproducible, and wait_for can swallow a cancellation.
"""

from __future__ import annotations

import asyncio
from typing import Any


async def until(future: asyncio.Future[Any], deadline: float | None = None) -> bool:
    """Wait until `future` is done; return False if the loop's time reaches `deadline` first.

    Neither the future's result nor its error is raised here, and cancelling the waiter leaves it alone.
    """
    if future.done():
        return True
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = None if deadline is None else loop.call_at(deadline, wake)
    future.add_done_callback(wake)
    try:
        await waiter
    finally:
        future.remove_done_callback(wake)
        if timer is not None:
            timer.cancel()
    return future.done()
