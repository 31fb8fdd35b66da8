"""A connection to a Redis that watches what it is told: who wrote, by the server and not by who writes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from forebay.scenarios.real.monitor_lines import MonitorLines
from forebay.scenarios.servers import RedisServer
from forebay.scenarios.servers.ports import HOST

LONGEST: Final = 2**26
"""Bytes of one line at most: a range with all its jobs."""
AGAIN: Final = 0.05
"""Seconds between two attempts to reach a Redis that is down."""


class Monitor:
    """Follows one server through all its lives. `watching` is set while it does; `start` once, `stop` in the end."""

    def __init__(self, server: RedisServer, lines: MonitorLines) -> None:
        self._server = server
        self._lines = lines
        self._task: asyncio.Task[None] | None = None
        self.watching = asyncio.Event()

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._follow(), name=f"monitor of {self._server.name}")

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _follow(self) -> None:
        while True:
            with suppress(OSError, ValueError):
                await self._watch()
            self.watching.clear()
            await asyncio.sleep(AGAIN)

    async def _watch(self) -> None:
        reader, writer = await asyncio.open_connection(HOST, self._server.port, limit=LONGEST)
        try:
            writer.write(b"MONITOR\r\n")
            if await reader.readline() != b"+OK\r\n":
                return
            self.watching.set()
            while line := await reader.readline():
                self._lines.feed(line.decode(errors="replace").rstrip("\r\n"))
        finally:
            self._lines.settle()
            writer.transport.abort()
