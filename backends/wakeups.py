"""Waiting for a change without polling: the data folder admits one process, so every change is seen
here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Waiter:
    """One task's wait for the first of its wake-ups."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[bool] = self._loop.create_future()

    def wake(self, changed: bool = True) -> None:
        """End the wait; only the first call counts."""
        if not self._woken.done():
            self._woken.set_result(changed)

    async def wait(self, seconds: float) -> bool:
        """Return True when woken, False after `seconds` or when the wake-ups were closed."""
        timer = self._loop.call_later(max(seconds, 0.0), self.wake, False)
        try:
            return await self._woken
        finally:
            timer.cancel()


class Wakeups(Generic[K]):
    """Who waits for which key."""

    def __init__(self) -> None:
        self._waiting: dict[K, dict[Waiter, None]] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing will be waited for any more."""
        return self._closed

    @contextmanager
    def expect(self, keys: Iterable[K]) -> Iterator[Waiter]:
        """Listen from now on. Look at the state inside, then wait: no change is missed."""
        waiter = Waiter()
        wanted = tuple(dict.fromkeys(keys))
        for key in wanted:
            self._waiting.setdefault(key, {})[waiter] = None
        if self._closed:
            waiter.wake(False)
        try:
            yield waiter
        finally:
            for key in wanted:
                waiters = self._waiting[key]
                del waiters[waiter]
                if not waiters:
                    del self._waiting[key]

    def notify(self, keys: Iterable[K]) -> None:
        """Wake whoever waits for one of the keys."""
        for key in keys:
            for waiter in self._waiting.get(key, ()):
                waiter.wake()

    def open(self) -> None:
        """Admit waiters (again)."""
        self._closed = False

    def close(self) -> None:
        """Send every waiter home and let no new one wait."""
        self._closed = True
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.wake(False)
