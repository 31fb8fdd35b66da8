"""The stores that a runtime stands on: the data folder, and what lies in it or on servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Final

from attrs import evolve

from forebay.actors.relay.snapshots import snapshots_spec
from forebay.backends.end_records import ends_spec
from forebay.backends.ports import Acks, Clock, Coordination, Log, Queue, TopicSpec
from forebay.backends.sqlite.embedded import Embedded, open_embedded
from forebay.config import Config, StoreUrl, TopicConfig
from forebay.jobs.lanes import retry_topic
from forebay.supervisors.adapters import ADAPTERS, Adapters, Means

LOG: Final = "log"
COORDINATION: Final = "coordination"


def queue_store(name: str) -> str:
    """Return the name under which a queue is opened."""
    return f"queue[{name}]"


class Stores:
    """Log, coordination and queues of one configuration, and the data folder, which one process has to itself.

    Between `start` and `stop` the stores can be used. What is embedded is open then; a server's store raises `Unavailable`
    until it was opened with `open`, by its name in `remote`.
    """

    log: Log
    coordination: Coordination

    def __init__(self, config: Config, clock: Clock, random: Random, adapters: Adapters = ADAPTERS) -> None:
        self._config = config
        self._adapters = adapters
        self._clock = clock
        self._random = random
        self._embedded: Embedded | None = None
        self._queues: Mapping[str, Queue] = {}
        self._open: set[str] = set()
        self._closing = AsyncExitStack()

    def queue(self, topic: str) -> Queue:
        """Return the queue that a topic is relayed to. Raises `KeyError` for a topic that the configuration lacks."""
        return self.routes[topic]

    @property
    def routes(self) -> Mapping[str, Queue]:
        """Every topic's queue; topics may share one."""
        return {topic.name: self._queues[topic.queue] for topic in self._config.topics}

    # --- opening

    @property
    def remote(self) -> Sequence[str]:
        """The names of the stores that are servers', in the order in which they are best opened."""
        return [name for name, url in self._urls().items() if not url.embedded]

    def _urls(self) -> Mapping[str, StoreUrl]:
        config = self._config
        queues = {queue_store(name): queue.url for name, queue in config.queues.items()}
        return {LOG: config.log.url, COORDINATION: config.coordination.url, **queues}

    async def start(self) -> None:
        """Lock the data folder, open what lies in it, create missing topics of an embedded log.

        Raises `DataFolderInUse`, `StoreCorrupt`, `Unavailable`.
        """
        urls = self._urls()
        if not any(url.embedded for url in urls.values()):
            self._closing.callback(self._adapters.occupy(self._config.data))
        means = Means(self._clock, self._random, self._open_embedded, self._config.lock)
        adapters = self._adapters
        self.coordination = adapters.coordinations[urls[COORDINATION].scheme](urls[COORDINATION], means)
        self._queues = {
            name: adapters.queues[queue.url.scheme](name, queue.url, means) for name, queue in self._config.queues.items()
        }
        self.log = adapters.logs[urls[LOG].scheme](urls[LOG], means)
        for name, url in urls.items():
            if url.embedded:
                await self.open(name)

    def _open_embedded(self) -> Embedded:
        if self._embedded is None:
            self._embedded = open_embedded(self._config.data, self._clock, self._random)
            self._closing.push_async_callback(self._embedded.stop)
        return self._embedded

    async def open(self, name: str) -> None:
        """Open a store, and have the log make its missing topics. Does again only what was not done yet.

        Raises `Unavailable`, and `BackendError` for a store that is not as the configuration asks.
        """
        store = self._store(name)
        if name not in self._open:
            await store.start()
            self._open.add(name)
            if name in self.remote:  # what is embedded is stopped with its folder
                self._closing.push_async_callback(store.stop)
        if name == LOG:
            await self.log.ensure([spec for topic in self._config.topics for spec in topic_specs(topic)])

    async def widen(self, topic: TopicConfig, partitions: int) -> None:
        """Have the log make the topic and those beside it with so many partitions. Raises `BackendError`."""
        await self.log.ensure(topic_specs(evolve(topic, partitions=partitions)))

    def _store(self, name: str) -> Log | Coordination | Queue:
        stores: dict[str, Log | Coordination | Queue] = {LOG: self.log, COORDINATION: self.coordination}
        stores |= {queue_store(queue): store for queue, store in self._queues.items()}
        return stores[name]

    async def stop(self) -> None:
        """Close everything, the last opened first, whatever state it is in, and let the folder go."""
        await self._closing.aclose()


def topic_specs(topic: TopicConfig) -> Sequence[TopicSpec]:
    """Return the topic and those beside it, as the log must have them: for jobs that the queue refused, for which offsets
    have ended, and for dead and parked ones.
    """
    spec = topic_spec(topic)
    return spec, evolve(spec, name=retry_topic(topic.name)), snapshots_spec(spec), ends_spec(spec)


def topic_spec(topic: TopicConfig) -> TopicSpec:
    """Return the topic as the log must have it."""
    return TopicSpec(
        topic.name,
        topic.partitions,
        topic.retention,
        topic.max_record,
        Acks(topic.acks),
        replication=topic.replication,
        min_insync=topic.min_insync,
    )
