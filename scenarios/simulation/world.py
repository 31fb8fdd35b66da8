"""A whole system on one virtual loop: simulated Kafka, Consul and Redis, and hosts that run the production runtime on them.

    async with World(config, hosts=("a", "b")) as world:
        await world.post({"seconds": 1.0})
        world.hosts["a"].kill()
        await world.until(lambda: not world.book.unfinished())

The configuration is one of production with `kafka:`, `consul:` and `redis:` URLs; only what these lead to is simulated, and
no host listens on sockets. Chance comes from the loop's streams, so one seed gives one run: `digest` is taken over every
event of every host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from attrs import evolve

from forebay.backends.ports import Acks, Clock, Counts
from forebay.backends.redis import RedisQueue
from forebay.config import Config, StoreUrl, TopicConfig
from forebay.jobs import Registry
from forebay.jobs.lanes import retry_mark, retry_topic
from forebay.scenarios.loop import VirtualLoop, running_loop
from forebay.scenarios.simulation.book import Book, Post
from forebay.scenarios.simulation.consul import SimConsul
from forebay.scenarios.simulation.consul_client import SimCoordination
from forebay.scenarios.simulation.handlers import WORK, work_registry
from forebay.scenarios.simulation.host import Host
from forebay.scenarios.simulation.kafka import ZONES, SimKafka
from forebay.scenarios.simulation.kafka_log import SimLog
from forebay.scenarios.simulation.posting import post_through
from forebay.scenarios.simulation.process import Being
from forebay.scenarios.simulation.redis import SimRedis
from forebay.scenarios.trace import Trace
from forebay.scenarios.tracing import attach
from forebay.supervisors.adapters import Adapters, Means
from forebay.supervisors.job_runtime import JobRuntime

LOOK: Final = 0.1
"""Seconds between two looks of `until`."""

Handlers = Callable[[Host[JobRuntime]], Registry]
Booted = Callable[[Host[JobRuntime], JobRuntime], None]


class NotReached(AssertionError):
    """What was waited for did not come in time."""


class World:
    """Services, and hosts by name; all hosts start with it and stop with it. To be made on a virtual loop.

    `own` are configurations of hosts that differ from the common one; topics and URLs must agree. `handlers` gives each life
    of a host its handlers, by default those of `handlers.py`. `booted` is called with a host and its new runtime that is
    about to start, so that somebody may listen to its events. `zones` names the zone of each Kafka broker.
    """

    def __init__(
        self,
        config: Config,
        *,
        hosts: Sequence[str] = ("a", "b"),
        own: Mapping[str, Config] | None = None,
        handlers: Handlers | None = None,
        booted: Booted = lambda _host, _runtime: None,
        zones: Mapping[int, str] = ZONES,
    ) -> None:
        loop = self._loop = running_loop()
        self.config = _simulated(config)
        self.book = Book()
        self._topics = {topic.name: topic for topic in self.config.topics}
        self.trace = Trace(loop.time)
        self.kafka = SimKafka(loop.clock, loop.streams.stream("kafka"), zones=zones)
        self.consul = SimConsul(loop.clock, loop.streams.stream("consul"))
        self.redis = _servers(self.config, loop)
        self.hosts = {name: Host(name, self._boot, self._note) for name in hosts}
        self._own = {name: _simulated(one) for name, one in (own or {}).items()}
        self._handlers = handlers or (lambda host: work_registry(self.book, host.name, host.lives))
        self._booted = booted
        self._posts = 0
        self._detach: list[Callable[[], None]] = []

    # --- hosts

    def _boot(self, host: Host[JobRuntime]) -> JobRuntime:
        streams = self._loop.streams
        place = f"{host.name}#{host.lives}"
        runtime = JobRuntime(
            self._own.get(host.name, self.config),
            registry=self._handlers(host),
            clock=host.clock,
            streams=lambda name: streams.stream(f"{place}/{name}"),
            adapters=self._adapters(host.name),
            sockets=False,
        )
        self._detach.append(attach(runtime.events, self.trace, place))
        self._booted(host, runtime)
        return runtime

    def _note(self, host: Host[JobRuntime], what: str) -> None:
        self.trace.add(host.name, host.lives, what)
        if what == "Ended":
            for server in self.redis.values():
                server.hang_up(host.name)

    def _adapters(self, host: str) -> Adapters:
        def queue(name: str, url: StoreUrl, means: Means) -> RedisQueue:
            return RedisQueue(url.text, means.random, make=self.redis[name].client(host))

        return Adapters(
            logs={"kafka": lambda _url, _means: SimLog(self.kafka, host)},
            coordinations={"consul": lambda _url, _means: SimCoordination(self.consul, host)},
            queues={"redis": queue, "rediss": queue},
            occupy=lambda _folder: lambda: None,
        )

    # --- life cycle

    async def __aenter__(self) -> Self:
        begun = False
        try:
            for host in self.hosts.values():
                await host.start()
            begun = True
        finally:
            if not begun:
                self._end()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                await self.stop()
        finally:
            self._end()

    async def stop(self) -> None:
        """Stop every host in order, one after the other; a paused one goes on for it."""
        for host in self.hosts.values():
            host.resume()
            await host.terminate()

    def _end(self) -> None:
        for host in self.hosts.values():
            host.kill()
        for detach in self._detach:
            detach()

    @property
    def digest(self) -> str:
        """What tells two runs apart; see `Trace.digest`."""
        return self.trace.digest

    # --- jobs

    async def post(
        self,
        args: object = None,
        *,
        type_: str = WORK,
        id: str | None = None,  # noqa: A002 - as `JobRuntime.enqueue` has it
        host: str | None = None,
        topic: str | None = None,
        acks: Acks | None = None,
        **options: Any,
    ) -> Post:
        """Post a job through a host, by default the first that runs, as `JobRuntime.enqueue` does; enter what became of it
        in the book and return it. What the system answers is never raised.
        """
        self._posts += 1
        to = self._topic(topic)
        choice = Acks(to.acks) if acks is None else acks
        body = {} if args is None and "raw" not in options else args
        post = await post_through(
            self._door(host), type_, body, id_=id or f"job-{self._posts}", topic=to.name, acks=choice, **options
        )
        self.book.enter(post)
        return post

    def _door(self, host: str | None) -> Host[JobRuntime]:
        running = (one for one in self.hosts.values() if one.being is Being.RUNNING)
        return self.hosts[host] if host is not None else next(running, next(iter(self.hosts.values())))

    # --- looking

    async def until(self, condition: Callable[[], bool], within: float = 600.0) -> float:
        """Wait until something is so; return the time. Raises `NotReached` after `within` seconds."""
        deadline = self._loop.time() + within
        while not condition():
            if self._loop.time() >= deadline:
                raise NotReached(f"not so after {within:g} s; unfinished: {self.book.unfinished()[:10]}")
            await asyncio.sleep(LOOK)
        return self._loop.time()

    def counts(self, topic: str) -> Counts:
        """Jobs of a topic by state, as its queue has them now."""
        return self._server(topic).counts(topic)

    def lag(self, topic: str) -> int:
        """How many records of a topic, and of its retry topic, are in the log and not in the queue. Raises the network's
        `Refused` while a partition has no leader.
        """
        marks = self._server(topic).marks(topic)
        partitions = range(self._topic(topic).partitions)
        places = [(topic, partition, partition) for partition in partitions]
        places += [(retry_topic(topic), partition, retry_mark(partition)) for partition in partitions]
        extents = [(self.kafka.extent(name, partition), mark) for name, partition, mark in places]
        return sum(max(0, extent.end - max(extent.start, marks.get(mark, 0))) for extent, mark in extents)

    def _server(self, topic: str) -> SimRedis:
        return self.redis[self._topic(topic).queue]

    def _topic(self, name: str | None) -> TopicConfig:
        """The topic of a name; without one, the first. Raises `KeyError`."""
        return next(iter(self._topics.values())) if name is None else self._topics[name]


def _simulated(config: Config) -> Config:
    """The configuration without the modules of its handlers. Raises `ValueError` for stores that are not simulated."""
    urls = [config.log.url, config.coordination.url, *(queue.url for queue in config.queues.values())]
    embedded = [url.text for url in urls if url.embedded]
    if embedded:
        raise ValueError(
            f"{embedded[0]} is not simulated; give kafka:, consul: and redis: URLs, the servers need not be there"
        )
    workers = None if config.workers is None else evolve(config.workers, handlers=())
    return evolve(config, workers=workers)


def _servers(config: Config, loop: VirtualLoop) -> Mapping[str, SimRedis]:
    """One server for each URL, by the names of the queues."""
    by_url: dict[str, SimRedis] = {}
    for name, queue in config.queues.items():
        if queue.url.text not in by_url:
            clock: Clock = loop.clock
            by_url[queue.url.text] = SimRedis(name, clock, loop.streams.stream(f"redis/{name}"))
    return {name: by_url[queue.url.text] for name, queue in config.queues.items()}
