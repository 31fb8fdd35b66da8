"""One client's hold on one topic of Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from aiokafka import errors
from aiokafka.client import CoordinationType
from aiokafka.protocol.commit import OffsetCommitRequest

from forebay.backends.errors import Unavailable
from forebay.backends.kafka.cluster import Cluster
from forebay.backends.kafka.faults import translated
from forebay.backends.kafka.offsets import extents_of
from forebay.backends.kafka.reader import Reader
from forebay.backends.ports import Acks, Extent, NewRecord, OutOfRange, Record, Want

LOOK_AGAIN: Final = 0.1
"""Seconds between attempts while a partition's leader does not answer."""

Fetched = Mapping[int, Sequence[Record] | OutOfRange]


class _Appends(Protocol):
    """What a connection needs of its log."""

    async def append(self, records: Sequence[NewRecord], acks: Acks) -> Sequence[int]: ...


class KafkaLogConnection:
    """Reading by explicit position. Made by `KafkaLog.connect`.

    It asks the leaders itself, and keeps no position and reads nothing ahead: a cancelled fetch loses nothing, and there is
    no consumer in the background that could fall silent (aiokafka issues 983, 1154). There is no offset reset either.
    """

    def __init__(
        self, topic: str, log: _Appends, cluster: Cluster, group: str, closed: Callable[[KafkaLogConnection], None]
    ) -> None:
        self._topic = topic
        self._log = log
        self._cluster = cluster
        self._group = group
        self._closed = closed
        self._reader = Reader(topic, cluster)
        self._coordinator: int | None = None

    async def start(self) -> None:
        """Reach a broker and find the topic. Raises `Unavailable`, `UnknownTopic`; is then closed again."""
        found = False
        try:
            await self._cluster.start()
            await self._cluster.partitions(self._topic)
            found = True
        finally:
            if not found:
                await self._cluster.close()

    async def fetch(self, wants: Mapping[int, Want], wait: float) -> Fetched:
        """See the port. Raises `Unavailable` when no broker answers; a partition without a leader is waited for."""
        await self._cluster.require(self._topic, wants)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            found, missing = await self._reader.take(wants)
            left = deadline - loop.time()
            if missing:
                await self._cluster.refresh()
            if found or left <= 0:
                return found
            if missing:
                await asyncio.sleep(min(left, LOOK_AGAIN))
            else:
                await self._reader.news(wants, left)

    @property
    def held_up(self) -> Mapping[int, str]:
        """Those whose leaders answer with an error of that partition alone."""
        return self._reader.held_up

    async def extents(self) -> Mapping[int, Extent]:
        """The extent of every partition; `Unavailable` if one of them has no leader for the length of the timeout."""
        await self._cluster.refresh_topic(self._topic)
        partitions = await self._cluster.partitions(self._topic)
        return await extents_of(self._cluster, self._topic, range(partitions))

    async def append(self, records: Sequence[NewRecord], acks: Acks) -> Sequence[int]:
        """As `KafkaLog.append`."""
        self._cluster.client  # noqa: B018 - raises when closed
        return await self._log.append(records, acks)

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell the group's coordinator. If it is away the next commit tells more; `Unavailable` if no broker answers."""
        await self._cluster.require(self._topic, offsets)
        if not offsets:
            return
        try:
            await self._commit(offsets)
        except (errors.KafkaError, Unavailable):
            self._coordinator = None
            await self._cluster.refresh()

    async def _commit(self, offsets: Mapping[int, int]) -> None:
        if self._coordinator is None:
            self._coordinator = await self._cluster.coordinator(CoordinationType.GROUP, self._group)
        positions = [(partition, offset, "") for partition, offset in offsets.items()]
        request = OffsetCommitRequest(self._group, -1, "", -1, [(self._topic, positions)])
        response: Any = await self._cluster.send(self._coordinator, request)
        for _, partitions in response.topics:
            for _, code, *_ in partitions:
                if code:
                    raise errors.for_code(code)

    async def close(self) -> None:
        """Close the sockets, in a few seconds at most; a waiting fetch raises `Unavailable`."""
        self._closed(self)
        with translated("closing the connection to Kafka"):
            await self._cluster.close()
        await self._reader.close()
