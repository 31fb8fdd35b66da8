"""News of ready jobs: one subscription for the whole queue object, no polling.

A publication that was missed while the connection was down must not leave anyone waiting, so every confirmed subscription
wakes all waiters, who look for themselves.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from forebay.backends.redis.connection import Connection
from forebay.backends.wakeups import Wakeups

CHANNEL: Final = "forebay:ready"
IDLE: Final = 5.0
"""Seconds of silence after which the connection is probed; it is given up after as many again without an answer."""
PAUSE: Final = 1.0
"""Seconds between attempts to subscribe."""


class Subscription:
    """Tells `ready` which topics, by the prefix of their keys, have got jobs."""

    def __init__(self, connection: Connection, ready: Wakeups[str]) -> None:
        self._connection = connection
        self._ready = ready
        self._topics: dict[str, None] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Subscribe, and again whenever the connection is lost, until `stop`."""
        self._task = asyncio.create_task(self._listen(), name="redis queue: news of ready jobs")

    async def stop(self) -> None:
        """End the subscription."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()  # again if need be: see `Connection._exchange`
            await asyncio.wait([task], timeout=0.1)

    def expect(self, prefixes: tuple[str, ...]) -> None:
        """Remember whom to wake when the subscription is new."""
        self._topics.update(dict.fromkeys(prefixes))

    async def _listen(self) -> None:
        while True:
            with suppress(RedisError, OSError):
                await self._subscribed()
            await asyncio.sleep(PAUSE)

    async def _subscribed(self) -> None:
        pubsub = self._connection.client.pubsub()
        try:
            await pubsub.subscribe(CHANNEL)
            await self._read(pubsub)
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _read(self, pubsub: PubSub) -> None:
        """Hand on what comes; return when nothing answers any more."""
        probed = False
        while True:
            message = await pubsub.get_message(timeout=IDLE)
            if message is not None:
                probed = False
                self._hand_on(message["type"], message["data"])
            elif probed:
                return
            else:
                await pubsub.ping()
                probed = True

    def _hand_on(self, kind: str, data: object) -> None:
        if kind == "subscribe":
            self._ready.notify(tuple(self._topics))
        elif kind == "message" and isinstance(data, bytes):
            # whoever reaches this Redis can publish here, and what is no prefix of a topic's wakes nobody
            self._ready.notify((data.decode(errors="replace"),))
