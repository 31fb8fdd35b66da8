"""Calls to one Redis: a bounded pool, scripts by digest, errors as ours.

redis-py's own retries are off: whether a call may be repeated is for the caller to know, so a call that was sent and not
answered raises `UnknownOutcome`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from forebay.backends.errors import Unavailable
from forebay.backends.redis.faults import is_replica, no_answer, not_connected, refusal
from forebay.backends.redis.scripts import Script

Value = str | bytes | int | float

TIMEOUT: Final = 5.0
"""Seconds to wait for a connection, and for an answer."""
CONNECTIONS: Final = 32


def connect(url: str) -> Redis:
    """Return a client for a `redis:` or `rediss:` URL; it connects at its first call. Raises `ValueError`."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=2,
    )
    return Redis.from_pool(pool)


class Connection:
    """A client that is open between `open` and `close`. Every call raises `Unavailable`, `Full` or `BackendError`."""

    def __init__(self, make: Callable[[], Redis], where: str) -> None:
        self._make = make
        self._client: Redis | None = None
        self.where = where

    @property
    def client(self) -> Redis:
        """The open client. Raises `Unavailable`."""
        if self._client is None:
            raise Unavailable(f"{self.where}: the queue is not open")
        return self._client

    def open(self) -> None:
        """Make a client; nothing is sent yet."""
        self._client = self._make()

    def trial(self) -> Connection:
        """Another to the same server, open, which nobody else has: to look at the server before anybody uses it."""
        trial = Connection(self._make, self.where)
        trial.open()
        return trial

    def take_over(self, trial: Connection) -> None:
        """Go on with the client of a trial, which has it no more."""
        self._client, trial._client = trial._client, None

    async def close(self) -> None:
        """Close every connection, also those that wait for an answer. One that does not close in time is let go."""
        client, self._client = self._client, None
        if client is not None:
            # over TLS the other end has its part in closing, which a dead one does not do
            with suppress(RedisError, OSError):
                await client.connection_pool.disconnect(inuse_connections=True)

    async def run(self, script: Script, prefix: str, *arguments: Value) -> Any:
        """Run a script on the keys of one topic; it is sent in full where Redis has forgotten it."""
        try:
            return await self._call("EVALSHA", script.sha, 1, prefix, *arguments)
        except NoScriptError:
            return await self.command("EVAL", script.text, 1, prefix, *arguments)
        except ResponseError as error:
            raise refusal(error, self.where) from error

    async def load(self, scripts: Sequence[Script]) -> None:
        """Let Redis know the scripts."""
        for script in scripts:
            await self.command("SCRIPT", "LOAD", script.text)

    async def command(self, *words: Value) -> Any:
        """Send one command and return its answer as Redis gives it: bytes, integers, lists."""
        try:
            return await self._call(*words)
        except ResponseError as error:
            raise refusal(error, self.where) from error

    async def _call(self, *words: Value) -> Any:
        """As `command`; raises `ResponseError` for an error that Redis answered with."""
        pool = self.client.connection_pool
        cancels = _cancels()
        try:
            connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            raise not_connected(error, self.where) from error
        try:
            return await self._exchange(connection, words, cancels)
        finally:
            await pool.release(connection)

    async def _exchange(self, connection: AbstractConnection, words: Sequence[Value], cancels: int) -> Any:
        """Send and read. `cancels`: how often the task had been cancelled before the call.

        hiredis packs the words: redis-py's asyncio client would do that in Python, word by word. redis-py sends with
        asyncio.wait_for, which on Python 3.11 drops a cancellation that comes when the sending has just ended (CPython issue
        86296): here it is raised after all.
        """
        try:
            await connection.send_packed_command(pack_command(tuple(words)))  # type: ignore[arg-type]
            if _cancels() > cancels:
                await connection.disconnect(nowait=True)  # the answer is not read
                raise asyncio.CancelledError
            return await connection.read_response()
        except ResponseError as error:
            if is_replica(error):  # the name may lead to the primary when it is looked up again
                await connection.disconnect(nowait=True)
            raise
        except (RedisConnectionError, RedisTimeoutError, InvalidResponse, OSError) as error:
            await connection.disconnect(nowait=True)
            raise no_answer(error, self.where) from error


def _cancels() -> int:
    """Return how often the running task has been cancelled."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
