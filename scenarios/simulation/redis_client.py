"""The client's end of a simulated Redis: what `backends/redis` uses of redis-py, and nothing else.

Commands come packed as they would go over a socket, and errors are redis-py's own. One request is under way on a
connection at a time, as there; the pool has no bound.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from hiredis import Reader, pack_command
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from forebay.backends.redis.connection import TIMEOUT
from forebay.scenarios.simulation.redis_commands import Reply
from forebay.scenarios.simulation.redis_data import Refused

if TYPE_CHECKING:
    from forebay.scenarios.simulation.redis import SimRedis

CLOSED: Final = "Connection closed by server."


class SimConnection:
    """One connection of a host. The server puts replies into `coming`, and says when the next of them has arrived."""

    def __init__(self, server: SimRedis, host: str) -> None:
        self.host = host
        self.coming: deque[Reply | Refused] = deque()
        self.open = False
        self.life = 0  # the server's, as of the handshake
        self._broken = False
        self._server = server
        self._inbox: deque[Reply | Refused] = deque()
        self._waiter: asyncio.Future[None] | None = None

    async def connect(self) -> None:
        """Reach the server. Raises redis-py's errors: soon where nobody listens, after a time where nobody answers."""
        self._server.ask_to_connect(self)
        await self._read(f"Timeout connecting to {self._server.name}")
        self.open = True

    async def send_packed_command(self, packed: bytes) -> None:
        """Send one command."""
        if self._broken:
            raise RedisConnectionError(CLOSED)
        reader = Reader()
        reader.feed(packed)
        self._server.receive(self, reader.gets())

    async def read_response(self) -> Reply:
        """Return the answer. Raises the error that it is, or that there is none within the time allowed."""
        return await self._read(f"Timeout reading from {self._server.name}")

    async def _read(self, late: str) -> Reply:
        answered = False
        try:
            if not await self.arrives(TIMEOUT):
                raise RedisTimeoutError(late)
            answered = True
        finally:
            if not answered:
                self.close()
        return self.take()

    async def arrives(self, timeout: float) -> bool:
        """Wait for an answer; False after `timeout` seconds. Raises redis-py's error when the connection is broken."""
        if not self._inbox and not self._broken:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, self._wake)
            try:
                await self._waiter
            finally:
                self._waiter = None
                timer.cancel()
        if self._broken:
            raise RedisConnectionError(CLOSED)
        return bool(self._inbox)

    def take(self) -> Reply:
        """The oldest answer that has arrived. Raises the error that it is."""
        reply = self._inbox.popleft()
        if isinstance(reply, Refused):
            raise BaseParser.parse_error(str(reply))  # type: ignore[no-untyped-call]
        return reply

    def deliver(self) -> None:
        """The next reply has arrived."""
        self._inbox.append(self.coming.popleft())
        self._wake()

    def hang_up(self) -> None:
        """Either end is gone."""
        self._broken, self.open = True, False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def disconnect(self, *, nowait: bool = False) -> None:  # noqa: ARG002 - as redis-py has it
        """Close it; whoever waits for an answer gets an error."""
        self.close()

    def close(self) -> None:
        """Close it."""
        self._server.forget(self)
        self.hang_up()


class SimPool:
    """Connections of one client."""

    def __init__(self, server: SimRedis, host: str) -> None:
        self._server, self._host = server, host
        self._idle: list[SimConnection] = []
        self._used: dict[SimConnection, None] = {}

    async def get_connection(self) -> SimConnection:
        """An open connection. Raises redis-py's errors."""
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                break
        else:
            connection = SimConnection(self._server, self._host)
            await connection.connect()
        self._used[connection] = None
        return connection

    async def release(self, connection: SimConnection) -> None:
        """Give it back."""
        del self._used[connection]
        if connection.open:
            self._idle.append(connection)

    async def disconnect(self, *, inuse_connections: bool) -> None:
        """Close every connection; those in use too, if asked."""
        for connection in (*self._idle, *(self._used if inuse_connections else ())):
            connection.close()
        self._idle.clear()


class SimPubSub:
    """A subscription, on a connection of its own."""

    def __init__(self, server: SimRedis, host: str) -> None:
        self._connection = SimConnection(server, host)

    async def subscribe(self, channel: str) -> None:
        """Connect and ask for a channel; the confirmation comes as the first message."""
        await self._connection.connect()
        await self._send("SUBSCRIBE", channel)

    async def ping(self) -> None:
        """Ask for a sign of life; it comes as a message."""
        await self._send("PING")

    async def _send(self, *words: str) -> None:
        await self._connection.send_packed_command(pack_command(words))  # type: ignore[arg-type]

    async def get_message(self, timeout: float) -> Mapping[str, Any] | None:
        """The next message, None after `timeout` seconds."""
        if not await self._connection.arrives(timeout):
            return None
        kind, *_, last = self._connection.take()
        return {"type": kind.decode(), "data": last}

    async def aclose(self) -> None:
        """Close it."""
        self._connection.close()


class SimClient:
    """What a client of one host is to `backends/redis`."""

    def __init__(self, server: SimRedis, host: str) -> None:
        self._server, self._host = server, host
        self.connection_pool = SimPool(server, host)

    def pubsub(self) -> SimPubSub:
        """A new subscription."""
        return SimPubSub(self._server, self._host)
