"""One hold on one topic of the embedded log."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Protocol

from forebay.backends.errors import Unavailable, UnknownPartition
from forebay.backends.ports import (
    Acks,
    Clock,
    Extent,
    NewRecord,
    OutOfRange,
    Record,
    TopicSpec,
    Want,
)
from forebay.backends.sqlite import log_store
from forebay.backends.sqlite.database import Database
from forebay.backends.wakeups import Wakeups

_PURGE_EVERY = 60.0  # seconds between looks for records that retention lets go
_PURGE_STEPS = 10  # transactions spent on it in one commit; what is left waits for the next commit

Fetched = Mapping[int, Sequence[Record] | OutOfRange]


class _Topics(Protocol):
    """What a connection needs of its log."""

    def spec(self, topic: str) -> TopicSpec: ...
    async def append(self, records: Sequence[NewRecord], acks: Acks) -> Sequence[int]: ...


class SqliteLogConnection:
    """Reading by explicit position. Made by `SqliteLog.connect`."""

    def __init__(
        self,
        topic: str,
        log: _Topics,
        database: Database,
        changes: Wakeups[Hashable],
        clock: Clock,
    ) -> None:
        self._topic = topic
        self._log = log
        self._database = database
        self._changes = changes
        self._clock = clock
        self._turn = 0
        self._purge_due = clock.monotonic()
        self._open = True

    async def fetch(self, wants: Mapping[int, Want], wait: float) -> Fetched:
        """See the port. Which partition is served first goes round, so a large one starves none."""
        for partition in wants:
            self._check(partition)
        operation = partial(log_store.fetch, topic=self._topic, wants=self._in_turn(wants))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        places = [(self._topic, partition) for partition in wants]
        while True:
            with self._changes.expect((self, *places)) as news:
                self._require_open()
                found = await self._database.run(operation)
                if found or not await news.wait(deadline - loop.time()):
                    self._require_open()
                    return found

    def _in_turn(self, wants: Mapping[int, Want]) -> dict[int, Want]:
        partitions = list(wants)
        self._turn += 1
        cut = self._turn % len(partitions) if partitions else 0
        return {partition: wants[partition] for partition in partitions[cut:] + partitions[:cut]}

    @property
    def held_up(self) -> Mapping[int, str]:
        """None ever: all partitions lie in one file."""
        return {}

    async def extents(self) -> Mapping[int, Extent]:
        """The extent of every partition now. Raises `Unavailable` when closed."""
        self._require_open()
        return await self._database.run(partial(log_store.extents, topic=self._topic))

    async def append(self, records: Sequence[NewRecord], acks: Acks) -> Sequence[int]:
        """As `SqliteLog.append`."""
        self._require_open()
        return await self._log.append(records, acks)

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Note where the relay stands; at most once a minute delete what is relayed and past the
        topic's retention.
        """
        self._require_open()
        for partition in offsets:
            self._check(partition)
        await self._database.run(partial(log_store.commit, topic=self._topic, offsets=dict(offsets)))
        if self._clock.monotonic() >= self._purge_due:
            await self._purge()

    async def _purge(self) -> None:
        spec = self._log.spec(self._topic)
        before = self._clock.wall() - int(spec.retention * 1000)
        steps = _PURGE_STEPS
        for partition in range(spec.partitions):
            step = partial(log_store.purge, topic=self._topic, partition=partition, before=before)
            while await self._database.run(step):
                steps -= 1
                if steps == 0:
                    return  # there is more: the next commit goes on with it
        self._purge_due = self._clock.monotonic() + _PURGE_EVERY

    async def close(self) -> None:
        """Let go at once; a waiting fetch raises `Unavailable`."""
        self._open = False
        self._changes.notify((self,))

    def _check(self, partition: int) -> None:
        partitions = self._log.spec(self._topic).partitions
        if not 0 <= partition < partitions:
            raise UnknownPartition(self._topic, partition, partitions)

    def _require_open(self) -> None:
        if not self._open or self._changes.closed:
            raise Unavailable(f"the connection to topic {self._topic!r} is closed; connect again")
