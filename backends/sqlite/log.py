"""The embedded log: the `Log` port on one SQLite file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path

from forebay.backends.errors import RecordTooLarge, UnknownPartition, UnknownTopic
from forebay.backends.ports import Acks, Clock, NewRecord, TopicSpec
from forebay.backends.sqlite import log_store
from forebay.backends.sqlite.database import Database
from forebay.backends.sqlite.log_connection import SqliteLogConnection
from forebay.backends.sqlite.room import Room
from forebay.backends.wakeups import Wakeups


class SqliteLog:
    """An append-only log in `path`.

    Both kinds of `Acks` mean the same here: synced to the only disk. A record is deleted when it is
    older than its topic's retention and below the offset that a connection committed; what was not
    relayed is kept for ever.
    """

    def __init__(self, path: Path, clock: Clock, room: Room | None = None) -> None:
        self._database = Database(path, log_store.SCHEMA)
        self._clock = clock
        self._room = room or Room(path.parent)
        self._changes: Wakeups[Hashable] = Wakeups()
        self._topics: dict[str, TopicSpec] = {}

    async def start(self) -> None:
        """Open the file. Raises `StoreCorrupt`, `Unavailable` or `Full`."""
        self._topics = await self._database.start(log_store.topics)
        self._changes.open()

    async def stop(self) -> None:
        """Finish the appends in progress, close the file, end its thread. Waiting fetches raise
        `Unavailable`.
        """
        self._changes.close()
        await self._database.stop()

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        """Create topics and add partitions; a topic's retention and record limit follow the last
        call.
        """
        await self._database.run(partial(log_store.ensure, wanted=tuple(topics)), committed=self._learn)

    def _learn(self, topics: dict[str, TopicSpec]) -> None:
        self._topics = topics

    def offers(self, topic: str) -> Mapping[Acks, str]:
        """Both levels, which mean the same here."""
        return dict.fromkeys(Acks, "synced to disk") if topic in self._topics else {}

    async def append(self, records: Sequence[NewRecord], acks: Acks) -> Sequence[int]:  # noqa: ARG002 - one disk
        """Append in one transaction; concurrent calls share its sync. Raises `Full` while the disk
        has no room.
        """
        taken = tuple(records)
        for record in taken:
            self._check(record)
        if not taken:
            return ()
        self._room.require()
        places = {(record.topic, record.partition): None for record in taken}
        compacted = [place for place in places if self.spec(place[0]).compact]
        return await self._database.run(
            partial(log_store.append, records=taken, now=self._clock.wall(), compacted=compacted),
            committed=lambda _: self._changes.notify(places),
        )

    def _check(self, record: NewRecord) -> None:
        spec = self.spec(record.topic)
        if not 0 <= record.partition < spec.partitions:
            raise UnknownPartition(spec.name, record.partition, spec.partitions)
        size = len(record.value) + len(record.key or b"") + log_store.header_bytes(record)
        if size > spec.max_record:
            raise RecordTooLarge(size, spec.max_record)

    def spec(self, topic: str) -> TopicSpec:
        """The topic as the log has it now. Raises `UnknownTopic`."""
        try:
            return self._topics[topic]
        except KeyError:
            raise UnknownTopic(topic) from None

    async def connect(self, topic: str) -> SqliteLogConnection:
        """A new connection; any number may exist for one topic."""
        self.spec(topic)
        return SqliteLogConnection(topic, self, self._database, self._changes, self._clock)
