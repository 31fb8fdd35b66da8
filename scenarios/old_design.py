"""The design that the outage befell: a queue of lists in Redis. It is here to be shown, and for no other use.

Posting is `LPUSH`. A worker looks for jobs now and then, moves each with `LMOVE` to its list of those in flight and runs it.
One that is done is removed with `LREM`; one that failed is posted again first (`LPUSH`), so that it is never in no list. So
do, with more or less around it, RQ, Sidekiq's super_fetch, BullMQ and Asynq, or with RPOPLPUSH, the older name of LMOVE.

At `maxmemory` Redis refuses LPUSH and, what one does not expect, LMOVE. When the jobs in flight have failed, nobody can put
them back or take another one, and what nobody can take nobody can end: nothing frees memory any more.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from forebay.backends.errors import Full
from forebay.backends.redis.connection import Connection, Value

LOOK: Final = 0.5
"""Seconds between two times at which a worker looks for jobs, as arq's `poll_delay`."""
AGAIN: Final = 5.0
"""Seconds after which a client tries a refused post again."""
PATIENCE: Final = 60.0
"""Seconds for which it tries: the last time is one pause before their end."""


class ListQueue:
    """A queue as one host uses it, a call at a time, each on a connection of its own, as the calls of web requests are.

    Redis counts what a connection takes as used memory, and frees some of it when that is idle: open ones would now and then
    leave room for a take. `refused` counts, by command, what it refused for want of memory. Calls raise `BackendError`.
    """

    def __init__(self, connection: Connection, name: str, host: str) -> None:
        self.refused: Counter[str] = Counter()
        self._connection = connection
        self._pending, self._in_flight = f"{name}:pending", f"{name}:in-flight:{host}"
        self._calls = asyncio.Lock()

    async def post(self, body: bytes) -> None:
        """Add a job. Raises `Full`."""
        await self._call("LPUSH", self._pending, body)

    async def take(self) -> bytes | None:
        """Take the oldest job; None where there is none. Raises `Full`."""
        body = await self._call("LMOVE", self._pending, self._in_flight, "RIGHT", "LEFT")
        return body if isinstance(body, bytes) else None

    async def give_back(self, body: bytes) -> None:
        """A job that was taken has failed and is to be tried again, after those that wait. Raises `Full`."""
        await self.post(body)
        await self.done(body)

    async def done(self, body: bytes) -> None:
        """A job that was taken has ended."""
        await self._call("LREM", self._in_flight, 1, body)

    async def pending(self) -> int:
        """How many jobs wait, for any host."""
        return await self._length(self._pending)

    async def in_flight(self) -> int:
        """How many this host has."""
        return await self._length(self._in_flight)

    async def _length(self, key: str) -> int:
        length = await self._call("LLEN", key)
        return length if isinstance(length, int) else 0

    async def _call(self, *words: Value) -> bytes | int | None:
        async with self._calls:
            try:
                return await call(self._connection, *words)
            except Full:
                self.refused[str(words[0])] += 1
                raise


async def call(connection: Connection, *words: Value) -> bytes | int | None:
    """Connect, send one command, and return its answer when the connection is closed. Raises `BackendError`."""
    connection.open()
    try:
        reply: bytes | int | None = await connection.command(*words)
    finally:
        await connection.close()
    return reply


async def post_patiently(queue: ListQueue, body: bytes) -> bool:
    """Post as a client does: again and again, for `PATIENCE` seconds; False if it was refused each time."""
    for left in reversed(range(int(PATIENCE / AGAIN))):
        try:
            await queue.post(body)
        except Full:
            if left:
                await asyncio.sleep(AGAIN)
        else:
            return True
    return False


class Worker:
    """Runs `handle` for up to `slots` jobs of a queue at a time; one whose handler returns False goes back to the queue."""

    def __init__(self, queue: ListQueue, slots: int, handle: Callable[[bytes], Awaitable[bool]]) -> None:
        self._queue = queue
        self._slots = slots
        self._handle = handle
        self._running: list[asyncio.Task[None]] = []
        self._failed: list[bytes] = []

    async def run(self) -> None:
        """Look for jobs until cancelled; those that run are then cancelled too. Raises what a job's run raises."""
        try:
            while True:
                with suppress(Full):
                    await self._give_back()
                with suppress(Full):
                    await self._take()
                await asyncio.sleep(LOOK)
                self._clear()
        finally:
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running)

    async def _give_back(self) -> None:
        while self._failed:
            await self._queue.give_back(self._failed[0])
            del self._failed[0]

    async def _take(self) -> None:
        while len(self._running) < self._slots and (body := await self._queue.take()) is not None:
            self._running.append(asyncio.create_task(self._work(body), name="job of the old design"))

    async def _work(self, body: bytes) -> None:
        if await self._handle(body):
            await self._queue.done(body)
        else:
            self._failed.append(body)

    def _clear(self) -> None:
        ended = [task for task in self._running if task.done()]
        self._running = [task for task in self._running if task not in ended]
        for task in ended:
            task.result()
