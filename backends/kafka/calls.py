"""Calls of the client library with an end to their waiting: some of them can wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from forebay.backends.errors import Unavailable

T = TypeVar("T")


class Calls:
    """The calls under way of one client; none outlives `close`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def within(self, seconds: float, call: Coroutine[Any, Any, T], doing: str) -> T:
        """Return the call's answer or raise its error; raise `Unavailable` if neither comes within `seconds`.

        A call that is late, or whose caller is cancelled, is cancelled. It may have taken effect. `doing` names it in the
        error.
        """
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()
        if not done:
            raise Unavailable(f"{doing}: no answer within {seconds:g} s")
        if task.cancelled():  # by `close`, or by the library: its own clean-up can end so (aiokafka issue 647)
            raise Unavailable(f"{doing}: the connection was closed meanwhile")
        return task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, so that asyncio does not report the end of a call that nobody waits for any more

    async def close(self, seconds: float) -> None:
        """Cancel all, and give them `seconds` to end."""
        if self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(set(self._tasks), timeout=seconds)
