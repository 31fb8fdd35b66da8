"""Waiting out a service that is away: for ever, with backoff, noted once when it goes and once when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from forebay.actors.context import Context
from forebay.backends.errors import BackendError, Unavailable
from forebay.config.values import Backoff

T = TypeVar("T")

RETRY: Final = Backoff(base=0.1, cap=2.0)
"""Between tries of a service that is away: short enough that its return is noticed within seconds."""


class Outage:
    """What one actor knows of one service. Calls of several tasks share it, so that an outage is noted once.

    Notes `<service>_away` with the reason, and `<service>_back` with the seconds between.
    """

    def __init__(self, ctx: Context, service: str, backoff: Backoff = RETRY) -> None:
        self._ctx = ctx
        self._service = service
        self._backoff = backoff
        self._since: float | None = None

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Await `attempt()` again and again while it raises `Unavailable`; return its answer.

        Any other error is an answer too, and is raised.
        """
        failures = 0
        while True:
            try:
                answer = await attempt()
            except Unavailable as error:
                failures += 1
                self._begin(error)
                await asyncio.sleep(self._backoff.delay(failures, self._ctx.random))
            except BackendError:
                self._end()
                raise
            else:
                self._end()
                return answer

    def _begin(self, error: Unavailable) -> None:
        if self._since is None:
            self._since = self._ctx.now()
            self._ctx.note(f"{self._service}_away", why=str(error))

    def _end(self) -> None:
        if self._since is not None:
            self._ctx.note(f"{self._service}_back", seconds=round(self._ctx.now() - self._since, 3))
            self._since = None
