"""A TCP proxy on loopback that can cut, freeze, delay and throttle what goes through it, and lose answers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Self

from forebay.scenarios.servers.ports import HOST

CHUNK: Final = 16 * 1024
WINDOW: Final = 64
"""Chunks on their way in one direction of a connection; then the sender is held back, as by a full buffer."""
TICK: Final = 0.05
"""Seconds' worth of bytes that a throttled direction passes at once."""


_End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Losses:
    """How many answers are still to be lost; several proxies may share it."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self) -> bool:
        """Whether one more is."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True


class Proxy:
    """Connections to its own port go to `target` on 127.0.0.1, until told otherwise.

    All settings act at once, on open connections too, and in both directions. `async with` starts and closes it.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        """Seconds that each byte takes longer. It does not narrow the way."""
        self.rate: float | None = None
        """Bytes per second and direction of each connection; None for no limit."""
        self.losses = Losses(0)
        """So many of the target's next answers are lost, and whatever comes after each on its connection."""
        self.accepted = 0
        """Connections so far, those refused included."""
        self._cut = False
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._near: set[asyncio.StreamWriter] = set()
        self._unanswered: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens. Raises `RuntimeError` before it is started."""
        if self._server is None:
            raise RuntimeError("the proxy has no port before it is started: use it as `async with Proxy(port) as proxy`")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._writers) // 2

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset all connections, and each new one as soon as it is made, until `heal`."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Let nothing through, until `heal`; connections stay open. So looks a network that loses everything."""
        self._thawed.clear()

    def heal(self) -> None:
        """Let through again: what was frozen goes on, what was cut may connect."""
        self._cut = False
        self._thawed.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._cut:
            writer.transport.abort()
            return
        self._run(self._connect(reader, writer))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_writer: asyncio.StreamWriter | None = None
        try:
            await self._thawed.wait()
            far_reader, far_writer = await asyncio.open_connection(HOST, self.target)
        except OSError:
            return
        finally:  # also when the proxy is closed while this waits
            if far_writer is None:
                writer.transport.abort()
        if self._cut:
            writer.transport.abort()
            far_writer.transport.abort()
            return
        await self._join((reader, writer), (far_reader, far_writer))

    async def _join(self, near: _End, far: _End) -> None:
        """Carry both directions until both have ended, or until one side is lost; then the other side loses it too."""
        ends = {near[1], far[1]}
        self._writers |= ends
        self._near.add(near[1])
        ways = [*self._carry(near[0], far[1]), *self._carry(far[0], near[1])]
        try:
            await asyncio.gather(*ways)
            for end in ends:
                end.close()
        except OSError:
            for end in ends:
                end.transport.abort()
        finally:
            self._writers -= ends
            self._near.discard(near[1])
            self._unanswered.discard(near[1])
            for task in ways:
                task.cancel()

    def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[asyncio.Task[None]]:
        """Start what carries one direction."""
        way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WINDOW)
        return [self._run(_receive(reader, way)), self._run(self._deliver(way, writer))]

    async def _deliver(self, way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        """Pass on what arrived, each chunk when its time has come; the empty one is the end."""
        loop = asyncio.get_running_loop()
        while True:
            arrived, chunk = await way.get()
            await asyncio.sleep(max(0.0, arrived + self.delay - loop.time()))
            await self._thawed.wait()
            if not chunk:
                break
            if not self._is_lost(writer):
                await self._pass(chunk, writer)
        if writer.can_write_eof():
            writer.write_eof()

    def _is_lost(self, writer: asyncio.StreamWriter) -> bool:
        """Whether what arrived for an end is an answer that does not reach it."""
        if writer in self._near and writer not in self._unanswered and self.losses.take():
            self._unanswered.add(writer)
        return writer in self._unanswered

    async def _pass(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        """Write a chunk in pieces that the rate allows."""
        while chunk:
            size = len(chunk) if self.rate is None else max(1, int(self.rate * TICK))
            piece, chunk = chunk[:size], chunk[size:]
            await self._thawed.wait()
            writer.write(piece)
            await writer.drain()
            if self.rate is not None:
                await asyncio.sleep(len(piece) / self.rate)

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _receive(reader: asyncio.StreamReader, way: asyncio.Queue[tuple[float, bytes]]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        chunk = await reader.read(CHUNK)
        await way.put((loop.time(), chunk))
        if not chunk:
            return
