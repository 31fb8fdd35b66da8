"""The open connections of one HTTP server, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from forebay.actors.waiting import until

CUT_PATIENCE: Final = 0.5
"""Seconds that requests have to end in after they were cancelled."""

ACCEPT_PASSES: Final = 5
"""Loop passes in which asyncio surely finishes an accept that was under way: it has tasks of its own for that."""


class Connections(ServerState):
    """What uvicorn's protocols share, and what they need to leave nothing behind. `wall` is Unix time in ms."""

    def __init__(self, wall: Callable[[], int]) -> None:
        super().__init__()
        self.closing = False
        self._wall = wall
        self._second = -1
        self._gone: asyncio.Future[None] | None = None

    def refresh_date(self) -> None:
        """Let the answers to come carry the present date; the text is made anew once a second at most."""
        second = self._wall() // 1000
        if second != self._second:
            self._second = second
            self.default_headers = [(b"date", formatdate(second, usegmt=True).encode())]

    def lost(self) -> None:
        """A connection has gone."""
        if not self.connections and self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def close(self, drain: float) -> None:
        """End all within about `drain` seconds: requests in hand are answered first, what takes longer is cut off.

        Idle connections and streams end at once. New ones must not come: close the listener before.
        """
        self.closing = True
        for protocol in self._protocols():
            leave(protocol)
        try:
            await self._settle(self.tasks, drain)
        finally:
            self._cut()
        await self._settle(self.tasks, CUT_PATIENCE)
        for _ in range(ACCEPT_PASSES):
            await asyncio.sleep(0)

    def _protocols(self) -> list[H11Protocol]:
        return [protocol for protocol in self.connections if isinstance(protocol, H11Protocol)]

    async def _settle(self, tasks: Iterable[asyncio.Task[None]], patience: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        for task in tuple(tasks):
            await until(task, deadline)
        while self.connections and loop.time() < deadline:
            self._gone = loop.create_future()
            await until(self._gone, deadline)

    def _cut(self) -> None:
        for protocol in self._protocols():
            protocol.transport.abort()
        for task in tuple(self.tasks):
            task.cancel()


def leave(protocol: H11Protocol) -> None:
    """Close after the answer in hand; at once if there is none, or if it is a stream, which need not end by itself."""
    cycle: RequestResponseCycle | None = protocol.cycle
    if cycle is not None and cycle.response_started and not cycle.response_complete:
        protocol.transport.close()
    else:
        protocol.shutdown()
