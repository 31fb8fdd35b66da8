"""A call of a port with an end to its waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from forebay.actors.waiting import until
from forebay.backends.errors import UnknownOutcome

T = TypeVar("T")


async def within(seconds: float, call: Coroutine[Any, Any, T]) -> T:
    """Return the call's answer or raise its error; raise `UnknownOutcome` if neither comes within `seconds`.

    A call that is late, or whose caller is cancelled, is cancelled. It may have taken effect, and its answer may have been
    on the way: what a call opens is for the call itself to keep where its caller can close it.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(call)
    try:
        in_time = await until(task, loop.time() + seconds)
    finally:
        if task.cancel():
            task.add_done_callback(_drop)
    if not in_time:
        raise UnknownOutcome(f"no answer within {seconds:g} s")
    return task.result()


def _drop(task: asyncio.Task[Any]) -> None:
    """Take note of how a given-up call ended, so that asyncio does not report it as unseen."""
    if not task.cancelled():
        task.exception()
