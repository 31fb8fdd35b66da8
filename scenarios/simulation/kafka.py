"""A simulated Kafka cluster: what a client can notice of one, and what can happen to it.

`kafka_brokers` has who runs and who leads, `kafka_partition` the rules of a partition, `kafka_log` the port. A fault is a
method that returns at once; `heal` ends all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Final

from attrs import frozen

from forebay.backends.errors import UnknownPartition, UnknownTopic
from forebay.backends.kafka.batch import size_of
from forebay.backends.kafka.reader import ANSWER
from forebay.backends.kafka.topics import Offers
from forebay.backends.ports import Acks, Clock, Extent, NewRecord, OutOfRange, Record, TopicSpec, Want
from forebay.scenarios.simulation.kafka_brokers import Brokers, Place
from forebay.scenarios.simulation.kafka_partition import Partition
from forebay.scenarios.simulation.kafka_topics import Topic, check, extend, made
from forebay.scenarios.simulation.network import Network, NoAnswer, Refused, fail

ZONES: Final[Mapping[int, str]] = MappingProxyType({1: "a", 2: "b", 3: "c"})
SESSION_TIMEOUT: Final = 9.0
"""Seconds until the controller takes a broker for gone that says nothing (`broker.session.timeout.ms`)."""
LATENCY: Final = 0.001
"""Seconds that a trip takes at most, where nothing else is said."""


@frozen
class Found:
    """What a fetch brought, and whether a partition had nobody to ask."""

    answers: Mapping[int, Sequence[Record] | OutOfRange]
    missing: bool


class SimKafka(Brokers):
    """One cluster. `clock` is its brokers', `random` draws the trips, `zones` names the zone of each broker by number.

    With `unclean` a broker that is not in sync may be elected when nobody else can: what it lacks is gone, and other records
    take its place. `committed` is what consumers said of where they stand.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        *,
        zones: Mapping[int, str] = ZONES,
        latency: float = LATENCY,
        session_timeout: float = SESSION_TIMEOUT,
        unclean: bool = False,
    ) -> None:
        super().__init__(Network(random, latency), zones, session_timeout, unclean=unclean)
        self.committed: dict[Place, int] = {}
        self._clock = clock
        self._usually_unclean = unclean

    # --- looks

    def leader(self, topic: str, partition: int) -> int | None:
        """Who leads, as the controller has it; that broker may be down since."""
        return self.partition(topic, partition).leader

    def insync(self, topic: str, partition: int) -> tuple[int, ...]:
        """Who is in sync, as the controller has it."""
        return tuple(self.partition(topic, partition).insync)

    def extent(self, topic: str, partition: int) -> Extent:
        """What readers may see. Raises `Refused` while nobody leads."""
        return self.partition(topic, partition).extent

    def records(self, topic: str, partition: int) -> Sequence[Record]:
        """All that readers may see. Raises `Refused` while nobody leads."""
        one = self.partition(topic, partition)
        return one.log.between(one.extent.start, one.high)

    def partition(self, topic: str, number: int) -> Partition:
        """Raises `UnknownTopic`, `UnknownPartition`."""
        partitions = self.topic(topic).partitions
        if not 0 <= number < len(partitions):
            raise UnknownPartition(topic, number, len(partitions))
        return partitions[number]

    def topic(self, name: str) -> Topic:
        """Raises `UnknownTopic`."""
        if name not in self.topics:
            raise UnknownTopic(name)
        return self.topics[name]

    # --- more that can happen

    @property
    def unclean(self) -> bool:
        """Whether a broker that is not in sync may be elected."""
        return self._unclean

    @unclean.setter
    def unclean(self, allowed: bool) -> None:
        self.set_unclean(allowed)

    def move_leader(self, topic: str, partition: int, broker: int) -> bool:
        """Let another in-sync broker lead, as Kafka does to spread the load; False if this one may not."""
        return broker in self.alive and self._move(self.partition(topic, partition), broker)

    def forget(self, topic: str, partition: int, before: int) -> None:
        """Remove the records below an offset, read or not, as retention does. Raises `Refused` while nobody leads."""
        self.partition(topic, partition).forget(before)

    def heal(self) -> None:
        """End all faults: brokers run and follow, hosts reach them, and elections are as they were made."""
        self.network.heal()
        self.set_unclean(self._usually_unclean)
        self.start_all()
        for broker in self.brokers:
            self.catch_up(broker)

    # --- what brokers do for clients, each where the request arrives

    def require(self) -> None:
        """Raises `NoAnswer` when no broker is there any more."""
        if not self.alive:
            raise NoAnswer("no broker runs")

    def make(self, specs: Sequence[TopicSpec]) -> Mapping[str, Offers]:
        """Make topics and partitions that are missing; return what each offers. Raises `BackendError` before anything is
        made; `Refused` when all is made and not every partition has a leader yet.
        """
        self.require()
        for spec in specs:
            check(spec, self.topics.get(spec.name), len(self.living), unclean=self.unclean)
        for spec in specs:
            topic = self.topics.setdefault(spec.name, made(spec, self.zones))
            extend(topic, spec, self.zones, lambda place: self.held.wake([place]))
        self.elect()
        found = {spec.name: self.topics[spec.name] for spec in specs}
        for topic in found.values():
            for partition in topic.partitions:
                self.served(partition)
        return {name: topic.found(unclean=self.unclean).offers for name, topic in found.items()}

    def count(self, topic: str) -> int:
        """Return how many partitions a topic has. Raises `UnknownTopic`."""
        self.require()
        return len(self.topic(topic).partitions)

    def append(self, place: Place, records: Sequence[NewRecord], acks: Acks) -> asyncio.Future[int]:
        """Return the first record's offset, once `acks` hold. Raises `Refused`: nothing was written."""
        partition = self.served(self.partition(*place))
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        first = partition.log.end
        partition.append(records, self._clock.wall(), acks, partial(_tell, done, first))
        self.spread(partition)
        return done

    def fetch(self, topic: str, wants: Mapping[int, Want], hold: float) -> Found | asyncio.Future[Found]:
        """Return what there is of the wanted, or, where there is nothing, what there is as soon as there is something, at
        the latest after `hold` seconds. The first of `wants` is served first.
        """
        self.require()
        found = self._take(topic, wants)
        if found.answers or found.missing or hold <= 0:
            return found
        return self.held.until([(topic, number) for number in wants], hold, partial(self._take, topic, wants))

    def _take(self, topic: str, wants: Mapping[int, Want]) -> Found:
        answers: dict[int, Sequence[Record] | OutOfRange] = {}
        missing, room = False, ANSWER
        for number, want in wants.items():
            partition = self.partition(topic, number)
            try:
                self._expire(self.served(partition))
            except Refused:
                missing = True
                continue
            if not partition.holds(want.offset):
                answers[number] = OutOfRange(partition.extent)
            elif room > 0:
                records, size = _fitting(partition.read(want.offset, want.max_records), room, first=not answers)
                room -= size
                if records:
                    answers[number] = records
        return Found(answers, missing)

    def extents(self, topic: str) -> Mapping[int, Extent]:
        """What every partition holds. Raises `Refused` if one of them has no leader."""
        self.require()
        partitions = [self.served(partition) for partition in self.topic(topic).partitions]
        for partition in partitions:
            self._expire(partition)
        return {partition.number: partition.extent for partition in partitions}

    def commit(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Keep what a consumer says of where it stands."""
        self.require()
        self.committed.update({(topic, partition): offset for partition, offset in offsets.items()})

    def _expire(self, partition: Partition) -> None:
        partition.expire(self._clock.wall() - self.topic(partition.topic).retention)


def _tell(done: asyncio.Future[int], first: int, error: Exception | None) -> None:
    if error is None:
        done.set_result(first)
    else:
        fail(done, error)


def _fitting(records: Sequence[Record], room: int, *, first: bool) -> tuple[Sequence[Record], int]:
    """Return the records that fit into `room` bytes, and their size; the `first` of an answer fits always."""
    size = 0
    for index, record in enumerate(records):
        more = size_of(record)
        if size + more > room and (index or not first):
            return records[:index], size
        size += more
    return records, size
