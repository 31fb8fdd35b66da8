"""Which adapter serves which URL; the stores that a runtime stands on, opened before its tree and closed after it."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from forebay.backends.ports import Acks, Clock, Coordination, Log, Queue, TopicSpec
from forebay.backends.sqlite.embedded import Embedded, open_embedded
from forebay.config import Config


class Stores:
    """Log, coordination and queues of one configuration.

    The names can be used once `start` has returned. `start` raises `DataFolderInUse`, `StoreCorrupt`, `Unavailable`.
    """

    log: Log
    coordination: Coordination

    def __init__(self, config: Config, clock: Clock, random: Random) -> None:
        self._config = config
        self._clock = clock
        self._random = random
        self._embedded: Embedded | None = None
        self._queues: Mapping[str, Queue] = {}

    def queue(self, topic: str) -> Queue:
        """Return the queue that a topic is relayed to. Raises `KeyError` for a topic that the configuration lacks."""
        return self.routes[topic]

    @property
    def routes(self) -> Mapping[str, Queue]:
        """Every topic's queue; topics may share one."""
        return {topic.name: self._queues[topic.queue] for topic in self._config.topics}

    @property
    def durability(self) -> Mapping[Acks, str]:
        """What an acknowledged record has survived, in the words of the gate's answers."""
        return dict.fromkeys(Acks, "synced to disk")

    async def start(self) -> None:
        """Lock the data folder, open everything, create missing topics."""
        embedded = self._embedded = open_embedded(self._config.data, self._clock, self._random)
        self.log, self.coordination = embedded.log, embedded.coordination
        self._queues = {name: embedded.queue(name) for name in self._config.queues}
        await self.log.start()
        await self.coordination.start()
        for queue in self._queues.values():
            await queue.start()
        await self.log.ensure(
            [TopicSpec(topic.name, topic.partitions, topic.retention, topic.max_record) for topic in self._config.topics]
        )

    async def stop(self) -> None:
        """Close everything, whatever state it is in, and let the folder go."""
        if self._embedded is not None:
            await self._embedded.stop()
