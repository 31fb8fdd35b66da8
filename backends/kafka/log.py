"""The `Log` port on Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from forebay.backends.errors import RecordTooLarge, Unavailable, UnknownOutcome
from forebay.backends.kafka.batch import Slice, cut, size_of
from forebay.backends.kafka.cluster import Cluster
from forebay.backends.kafka.connection import KafkaLogConnection
from forebay.backends.kafka.sender import Sender
from forebay.backends.kafka.topics import Offers, ensure
from forebay.backends.ports import Acks, Clock, NewRecord, TopicSpec

TIMEOUT: Final = 10.0
"""Seconds within which an append or a question is answered, by the brokers or by an error."""


class KafkaLog:
    """An append-only log on the Kafka brokers `servers` ("host:port,host:port"); needs Kafka 2.1 or newer.

    `group` is the consumer group under which relays commit, for lag tools. One client appends for all; each connection has
    its own. The size of a record is checked against the limits that `ensure` was called with; a longer record of a topic
    that this log was never told of is refused by the broker, with `RecordTooLarge` too, but others of the same append may
    then have been written. A topic or partition that `ensure` has seen and that is not there now is `Unavailable`, for
    connections too: a broker that has just started has not heard of it yet.
    """

    def __init__(self, servers: str, clock: Clock, *, group: str = "forebay", timeout: float = TIMEOUT) -> None:
        self._partitions: dict[str, int] = {}
        self._cluster = Cluster(servers, timeout, self._partitions)
        self._sender = Sender(self._cluster, clock)
        self._group = group
        self._limits: dict[str, int] = {}
        self._offers: dict[str, Offers] = {}
        self._connections: set[KafkaLogConnection] = set()

    async def start(self) -> None:
        """Reach a broker, or raise `Unavailable` within the timeout."""
        await self._cluster.start()

    async def stop(self) -> None:
        """Close all sockets, those of connections too. Appends and fetches that wait raise; takes seconds at most."""
        await self._sender.close()
        for connection in tuple(self._connections):
            await connection.close()
        await self._cluster.close()

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        """Create missing topics and partitions; see `topics.ensure` for what is asked of topics that are there."""
        self._offers |= await ensure(self._cluster, topics)
        self.limit(topics)

    def offers(self, topic: str) -> Offers:
        """By the topic's settings in Kafka when it was ensured."""
        return self._offers.get(topic, {})

    def limit(self, topics: Sequence[TopicSpec]) -> None:
        """From now on refuse records over the topics' `max_record` before anything is sent; the topics are there."""
        self._limits.update({spec.name: spec.max_record for spec in topics})
        self._partitions.update({spec.name: spec.partitions for spec in topics})

    async def append(self, records: Sequence[NewRecord], acks: Acks) -> Sequence[int]:
        """Append; only a leader that is replaced meanwhile makes a record stand twice (see `sender`). Answers or raises
        within the timeout, or thereabouts.

        Where no broker took anything the error is `Unavailable`; if a request went out unanswered, `UnknownOutcome`.
        """
        self._require_open()
        taken = tuple(records)
        places: dict[tuple[str, int], list[int]] = {}
        for index, record in enumerate(taken):
            self._check_size(record)
            places.setdefault((record.topic, record.partition), []).append(index)
        wanted: dict[str, list[int]] = {}
        for topic, partition in places:
            wanted.setdefault(topic, []).append(partition)
        for topic, partitions in wanted.items():
            await self._cluster.require(topic, partitions)
        return await self._append(taken, places, acks)

    def _require_open(self) -> None:
        """Raise `Unavailable` when stopped, and until the topics are there: that one is missing is not known before."""
        self._cluster.client  # noqa: B018 - raises when stopped
        if not self._limits:
            raise Unavailable(f"Kafka at {self._cluster.servers}: the topics are not made yet")

    def _check_size(self, record: NewRecord) -> None:
        size = size_of(record)
        limit = self._limits.get(record.topic, size)
        if size > limit:
            raise RecordTooLarge(size, limit)

    async def _append(
        self, records: Sequence[NewRecord], places: Mapping[tuple[str, int], Sequence[int]], acks: Acks
    ) -> Sequence[int]:
        """Send the parts of each partition one after the other, those of all partitions at once."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._cluster.timeout
        offsets = [0] * len(records)
        indexes = {place: iter(found) for place, found in places.items()}
        parts = {place: cut([records[index] for index in found]) for place, found in places.items()}
        begun = False
        while parts:
            slices: list[Slice] = []
            for (topic, partition), left in tuple(parts.items()):
                if (part := next(left, None)) is None:
                    del parts[topic, partition]
                else:
                    slices.append(Slice(topic, partition, acks, *part, deadline, loop.create_future()))
            await self._deliver(slices, begun=begun)
            begun = True
            for done in slices:
                for offset, _ in enumerate(done.records, done.answer.result()):
                    offsets[next(indexes[done.place])] = offset
        return offsets

    async def _deliver(self, slices: Sequence[Slice], *, begun: bool) -> None:
        """Return when all are in the log, raise if one is not. `begun`: earlier parts of the same append are."""
        if not slices:
            return
        loop = asyncio.get_running_loop()
        for part in slices:
            self._sender.put(part)
        try:
            await asyncio.wait({part.answer for part in slices}, timeout=slices[0].deadline - loop.time())
        finally:
            unanswered = [part for part in slices if part.answer.cancel()]  # the sender drops what it has not sent
        failures = [error for part in slices if not part.answer.cancelled() and (error := part.answer.exception())]
        if not failures and not unanswered:
            return
        written = begun or any(part.asked for part in unanswered) or len(failures) + len(unanswered) < len(slices)
        raise _summary(failures, written=written, timeout=self._cluster.timeout)

    async def connect(self, topic: str) -> KafkaLogConnection:
        """A new connection with a client of its own. Raises `UnknownTopic`, `Unavailable`."""
        self._require_open()
        cluster = Cluster(self._cluster.servers, self._cluster.timeout, self._partitions)
        connection = KafkaLogConnection(topic, self, cluster, self._group, self._connections.discard)
        await connection.start()
        self._connections.add(connection)
        return connection


def _summary(failures: Sequence[BaseException], *, written: bool, timeout: float) -> BaseException:
    """Return the error that is true of the whole append. `written`: some of it is, or may be, in the log."""
    large = next((error for error in failures if isinstance(error, RecordTooLarge)), None)
    unsure = next((error for error in failures if isinstance(error, UnknownOutcome)), None)
    hard = next((error for error in failures if not isinstance(error, Unavailable)), None)
    if large or unsure or (hard and not written):
        return large or unsure or hard or failures[0]
    doing = str(hard or failures[0]) if failures else f"no answer within {timeout:g} s"
    if written:
        return UnknownOutcome(f"a part of the records may be in the log: {doing}")
    return failures[0] if failures else Unavailable(f"nothing was written: {doing}; check that the brokers run")
