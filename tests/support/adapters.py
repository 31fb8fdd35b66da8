"""The adapters that the contract suites run against: one entry per adapter and port.

A `Site` is one service of its own, with storage that survives `reopen`. Adapters that take a clock
get a manual one, and `advance` moves it; an adapter on real time lets the time pass.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Generic, TypeVar

from support.clock import ManualClock
from support.consul_sites import CONSUL_COORDINATIONS
from support.inline import InlineEmbedded
from support.kafka_sites import KAFKA_LOGS
from support.redis_sites import open_queue, redis_process
from support.simulated_sites import SIMULATED_COORDINATIONS, SIMULATED_LOGS

from forebay.backends.ports import Clock, Coordination, Log, Queue
from forebay.backends.redis import RedisQueue
from forebay.backends.sqlite import Embedded, open_embedded

P = TypeVar("P", Log, Queue, Coordination)


class Site(Generic[P]):
    """A started adapter, its clock, and what a test may do to its surroundings."""

    port: P
    clock: Clock
    ttl: float = 0.2  # seconds: a short time to live that the adapter accepts

    async def advance(self, seconds: float) -> None:
        """Let time pass as the adapter sees it."""
        raise NotImplementedError

    async def reopen(self) -> P:
        """Stop the adapter and start a new one on the same storage, as after a restart of the
        process.
        """
        raise NotImplementedError


class SqliteSite(Site[P]):
    """One data folder and the adapter of one port."""

    def __init__(self, data: Path, pick: Callable[[Embedded], P]) -> None:
        self.data, self.pick = data, pick
        self.clock = self.manual = ManualClock()
        self.embedded = self.open()

    def open(self) -> Embedded:
        return open_embedded(self.data, self.manual, Random(7))

    async def start(self) -> P:
        self.port = self.pick(self.embedded)
        await self.port.start()
        return self.port

    async def advance(self, seconds: float) -> None:
        self.manual.advance(seconds)

    async def reopen(self) -> P:
        await self.embedded.stop()
        self.embedded = self.open()
        return await self.start()


class InlineSite(SqliteSite[P]):
    """The same without threads, as tests on virtual time have it."""

    def open(self) -> InlineEmbedded:
        return InlineEmbedded(self.data, self.manual, Random(7))


def sqlite_site(pick: Callable[[Embedded], P], kind: type[SqliteSite[P]] = SqliteSite) -> "Opener[P]":
    @asynccontextmanager
    async def opened(data: Path) -> AsyncIterator[Site[P]]:
        site = kind(data, pick)
        try:
            await site.start()
            yield site
        finally:
            await site.embedded.stop()

    return opened


class RedisSite(Site[Queue]):
    """One redis-server. The queue's clock is the test's, so that minutes pass at once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = self.manual = ManualClock()

    async def start(self) -> Queue:
        self.port = await open_queue(self.url, self.manual)
        return self.port

    async def advance(self, seconds: float) -> None:
        self.manual.advance(seconds)

    async def reopen(self) -> Queue:
        await self.port.stop()
        return await self.start()


@asynccontextmanager
async def redis_site(data: Path) -> AsyncIterator[Site[Queue]]:
    async with redis_process(data) as server:
        site = RedisSite(server.url)
        await site.start()
        try:
            yield site
        finally:
            await site.port.stop()


class SimRedisSite(RedisSite):
    """A simulated Redis: the same queue and scripts, on messages in this process."""

    def __init__(self) -> None:
        super().__init__("redis://simulated")
        from forebay.scenarios.simulation.redis import SimRedis  # needs a package that the other sites can do without

        self.server = SimRedis("simulated", self.manual, Random(7))

    async def start(self) -> Queue:
        self.port = RedisQueue(self.url, Random(7), self.manual, self.server.client("host"))
        await self.port.start()
        return self.port


@asynccontextmanager
async def sim_redis_site(_: Path) -> AsyncIterator[Site[Queue]]:
    site = SimRedisSite()
    await site.start()
    try:
        yield site
    finally:
        await site.port.stop()


Opener = Callable[[Path], AbstractAsyncContextManager[Site[P]]]


def both(pick: Callable[[Embedded], P]) -> Mapping[str, Opener[P]]:
    return {"sqlite": sqlite_site(pick), "inline": sqlite_site(pick, InlineSite)}


LOGS: Mapping[str, Opener[Log]] = {**both(lambda embedded: embedded.log), **KAFKA_LOGS, **SIMULATED_LOGS}
QUEUES: Mapping[str, Opener[Queue]] = {
    **both(lambda embedded: embedded.queue("main")),
    "redis": redis_site,
    "sim": sim_redis_site,
}
COORDINATIONS: Mapping[str, Opener[Coordination]] = {
    **both(lambda embedded: embedded.coordination),
    **CONSUL_COORDINATIONS,
    **SIMULATED_COORDINATIONS,
}
