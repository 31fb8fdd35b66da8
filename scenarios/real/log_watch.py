"""What is in a real log: which jobs ended there, which accepted records it has not any more, how far it goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import anyio

from forebay.backends.clock import SystemClock
from forebay.backends.end_records import read_end
from forebay.backends.errors import BackendError
from forebay.backends.kafka import KafkaLog, KafkaLogConnection
from forebay.backends.ports import Extent, OutOfRange, Record, TopicSpec, Want
from forebay.jobs.lanes import ends_topic, retry_topic
from forebay.scenarios.replay.evidence import Evidence, id_of, place_of

PATIENCE: Final = 2.0
"""Seconds that the brokers have for one look; then the log counts as away."""
MANY: Final = 10_000
LONGEST: Final = 2**20


class LogWatch:
    """Reads a cluster through the adapter of the log, as a stranger would: nothing is made, nothing committed."""

    def __init__(self, bootstrap: str, topics: Iterable[str], seen: Evidence) -> None:
        self._log = KafkaLog(bootstrap, SystemClock(), timeout=PATIENCE)
        self._topics = tuple(topics)
        self._seen = seen
        self._connections: dict[str, KafkaLogConnection] = {}
        self._read: dict[tuple[str, int], int] = {}

    async def open(self) -> None:
        """Reach the brokers; the topics are there. Raises `Unavailable`."""
        await self._log.start()
        names = [name for topic in self._topics for name in (topic, retry_topic(topic), ends_topic(topic))]
        self._log.limit([TopicSpec(name, 1, 0.0, LONGEST) for name in names])
        for name in names:
            self._connections[name] = await self._log.connect(name)

    async def close(self) -> None:
        """Close everything."""
        await self._log.stop()

    async def look(self) -> Mapping[str, Mapping[int, Extent]] | None:
        """Bring ends and gone records up to date; return the extents by topic of the log. None if it does not answer."""
        with anyio.move_on_after(PATIENCE):
            try:
                extents = {name: await one.extents() for name, one in self._connections.items()}
                for topic in self._topics:
                    ends, retry = ends_topic(topic), retry_topic(topic)
                    for record in await self._new(ends, extents[ends]):
                        if (end := read_end(record)) is not None:
                            self._seen.ends[end.id] = end.kind
                    new = await self._new(retry, extents[retry])
                    self._seen.detoured |= {(id_of(record), place_of(record)) for record in new}
                await self._look_for_gone(extents)
            except BackendError:
                return None
            return extents
        return None

    async def _new(self, name: str, extents: Mapping[int, Extent]) -> list[Record]:
        """The records of a topic since the last look."""
        found: list[Record] = []
        for partition, extent in extents.items():
            begin = max(extent.start, self._read.get((name, partition), 0))
            new = await self._records(name, partition, Extent(begin, extent.end))
            if new:
                self._read[name, partition] = new[-1].offset + 1
            found += new
        return found

    async def _look_for_gone(self, extents: Mapping[str, Mapping[int, Extent]]) -> None:
        """Not what retention has removed: the relay was too late then, which is another promise."""
        detoured = {id_ for id_, _ in self._seen.detoured}
        left = {id_: self._seen.accepted[id_] for id_ in self._seen.unended() if id_ not in detoured}
        gone: set[str] = set()
        for topic, partition in sorted({(job.topic, job.partition) for job in left.values()}):
            extent = extents[topic][partition]
            records = await self._records(topic, partition, extent)
            held = {id_of(record) for record in records}
            mine = {id_: job for id_, job in left.items() if (job.topic, job.partition) == (topic, partition)}
            gone |= {id_ for id_, job in mine.items() if id_ not in held and job.offset >= extent.start}
        self._seen.gone = gone

    async def _records(self, name: str, partition: int, extent: Extent) -> list[Record]:
        """All records of that part of a partition; fewer where the log is cut meanwhile."""
        found: list[Record] = []
        offset = extent.start
        while offset < extent.end:
            got = (await self._connections[name].fetch({partition: Want(offset, MANY)}, PATIENCE)).get(partition)
            if got is None or isinstance(got, OutOfRange) or not got:
                break
            found += got
            offset = got[-1].offset + 1
        return found
