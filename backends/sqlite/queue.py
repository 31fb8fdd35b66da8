"""The embedded queue: the `Queue` port on one SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

from forebay.backends.checkpoints import Checkpoint, Checkpoints
from forebay.backends.ends import End
from forebay.backends.ports import (
    Claim,
    Clock,
    Counts,
    JobState,
    JobView,
    Lease,
    Mark,
    Moved,
    Outcome,
    ParkedRecord,
    Planted,
    QueuedJob,
    Token,
    Written,
)
from forebay.backends.settled import Settled
from forebay.backends.sqlite import queue_people, queue_relay, queue_work
from forebay.backends.sqlite.change import Change
from forebay.backends.sqlite.database import Database, Operation
from forebay.backends.sqlite.queue_schema import SCHEMA
from forebay.backends.sqlite.queue_work import Now
from forebay.backends.sqlite.room import Room
from forebay.backends.wakeups import Wakeups

T = TypeVar("T")


class SqliteQueue:
    """The working set in `path`. What each call does is said by the port; the modules `queue_*` do
    it.

    The folder admits one process, so at start every lease of an earlier one has lapsed: the first
    `reap` takes the jobs back. `random` names the epoch of each topic when it is first planted.
    """

    def __init__(self, path: Path, clock: Clock, random: Random, room: Room | None = None) -> None:
        self._database = Database(path, SCHEMA)
        self._clock = clock
        self._random = random
        self._room = room or Room(path.parent)
        self._ready: Wakeups[str] = Wakeups()

    async def start(self) -> None:
        """Open the file; old leases lapse. Raises `StoreCorrupt`, `Unavailable` or `Full`."""
        await self._database.start(queue_work.end_all_leases)
        self._ready.open()

    async def stop(self) -> None:
        """Finish the calls in progress, close the file, end its thread; `wait` returns False."""
        self._ready.close()
        await self._database.stop()

    async def _change(self, topic: str, operation: Operation[Change[T]]) -> T:
        change: Change[T] = await self._database.run(operation, committed=partial(self._announce, topic))
        return change.value

    def _announce(self, topic: str, change: Change[object]) -> None:
        if change.readied:
            self._ready.notify((topic,))

    def _now(self) -> Now:
        return Now(self._clock.wall(), self._clock.monotonic())

    # relay

    async def plant(self, topic: str, token: Token) -> Planted:
        """Install the fence. Raises `StaleToken`."""
        epoch = f"{self._random.getrandbits(64):016x}"
        return await self._database.run(partial(queue_relay.plant, topic=topic, token=token, epoch=epoch))

    async def marks(self, topic: str, token: Token) -> Mapping[int, Mark]:
        """The marks of every partition ever written. Raises `StaleToken`, `FenceMissing`."""
        return await self._database.run(partial(queue_relay.marks, topic=topic, token=token))

    async def write(
        self,
        topic: str,
        token: Token,
        epoch: str,
        partition: int,
        start: int,
        to: int,
        items: Sequence[QueuedJob | ParkedRecord],
        checkpoint: Checkpoint | None = None,
        *,
        begins: bool = True,
    ) -> Written:
        """Write one range of one partition. Raises `ValueError` for an item outside it, and what
        the port names.
        """
        batch = queue_relay.Batch(topic, token, epoch, partition, start, to, tuple(items), checkpoint, begins)
        self._room.require()
        return await self._change(topic, partial(queue_relay.write, batch=batch, now=self._clock.wall()))

    async def settled(self, topic: str, token: Token) -> Mapping[int, Settled]:
        """Which offsets have ended; nothing is said beyond the first 10,000 jobs that have not."""
        return await self._database.run(partial(queue_relay.settled, topic=topic, token=token))

    async def restore(
        self,
        topic: str,
        token: Token,
        epoch: str,
        settled: Mapping[int, Settled],
        checkpoints: Checkpoints | None = None,
    ) -> None:
        """Give partitions without a mark what an earlier memory knew."""
        found, points = dict(settled), dict(checkpoints or {})
        restore = partial(queue_relay.restore, topic=topic, token=token, epoch=epoch, found=found, checkpoints=points)
        await self._database.run(restore)

    async def rewind(self, topic: str, token: Token, epoch: str, partition: int, to: int) -> None:
        """Move a mark back."""
        move = partial(queue_relay.rewind, topic=topic, token=token, epoch=epoch, partition=partition, to=to)
        await self._database.run(move)

    async def unwritten(self, topic: str, token: Token, limit: int) -> Sequence[End]:
        """Ends that the log does not have."""
        return await self._database.run(partial(queue_relay.unwritten, topic=topic, token=token, limit=limit))

    async def written(self, topic: str, token: Token, ends: Sequence[End]) -> None:
        """Settle the offsets of what the log has."""
        found = tuple(ends)
        await self._database.run(partial(queue_relay.written, topic=topic, token=token, ends=found))

    async def headroom(self) -> float:
        """1: the disk is the limit, and `write` raises `Full` before it is reached."""
        return 1.0

    # workers

    async def claim(self, topic: str, lease: Lease, limit: int) -> Sequence[Claim]:
        """Lease pending jobs by the time they got ready, then by insertion; the cost does not
        depend on the backlog.
        """
        return await self._database.run(partial(queue_work.claim, topic=topic, lease=lease, limit=limit, now=self._now()))

    async def renew(self, topic: str, worker: str, received: int, ttl: float) -> frozenset[tuple[str, int]]:
        """Renew the worker's lease for `ttl` seconds from now. The attempt of a claim given back
        does not count.
        """
        lease_end = self._clock.monotonic() + ttl
        return await self._change(
            topic,
            partial(queue_work.renew, topic=topic, worker=worker, received=received, lease_end=lease_end),
        )

    async def end(self, topic: str, worker: str, outcomes: Sequence[Outcome]) -> Sequence[bool]:
        """Record outcomes in one step."""
        return await self._change(
            topic,
            partial(
                queue_work.end,
                topic=topic,
                worker=worker,
                outcomes=tuple(outcomes),
                now=self._now(),
            ),
        )

    async def promote(self, topic: str, limit: int) -> Moved:
        """Make due jobs pending."""
        return await self._change(topic, partial(queue_work.promote, topic=topic, limit=limit, now=self._now()))

    async def reap(self, topic: str, limit: int) -> Moved:
        """Take back the jobs of workers whose lease has lapsed."""
        return await self._change(topic, partial(queue_work.reap, topic=topic, limit=limit, now=self._now()))

    async def wait(self, topics: Sequence[str], timeout: float) -> bool:
        """Return True as soon as there is a pending job, False after `timeout` seconds or at
        `stop`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            with self._ready.expect(topics) as news:
                if self._ready.closed:
                    return False
                if await self._database.run(partial(queue_work.claimable, topics=topics)):
                    return True
                if not await news.wait(deadline - loop.time()):
                    return False

    # people

    async def counts(self, topic: str) -> Counts:
        """Jobs by state; a successor that waits for its first to end counts as delayed."""
        return await self._database.run(partial(queue_people.counts, topic=topic))

    async def browse(self, topic: str, state: JobState, limit: int, after: str = "") -> Sequence[JobView]:
        """Jobs in one state by id; a parked record's id is `<topic>/<partition>/<offset>`."""
        return await self._database.run(partial(queue_people.browse, topic=topic, state=state, limit=limit, after=after))

    async def find(self, topic: str, ids: Sequence[str]) -> Sequence[JobView]:
        """Jobs and parked records by id."""
        return await self._database.run(partial(queue_people.find, topic=topic, ids=tuple(ids)))

    async def resubmit(self, topic: str, ids: Sequence[str]) -> int:
        """Dead jobs that hold their offsets to pending; they run whatever else has their dedup id now."""
        return await self._change(
            topic,
            partial(queue_people.resubmit, topic=topic, ids=tuple(ids), now=self._clock.wall()),
        )

    async def retire(self, topic: str, ids: Sequence[str]) -> int:
        """Remove dead jobs that hold no offset."""
        return await self._database.run(partial(queue_people.retire, topic=topic, ids=tuple(ids)))

    async def discard(self, topic: str, ids: Sequence[str]) -> int:
        """Remove dead or parked jobs for good."""
        return await self._database.run(partial(queue_people.discard, topic=topic, ids=tuple(ids)))
