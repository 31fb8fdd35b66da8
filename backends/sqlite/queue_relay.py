"""The relay's side of the embedded queue: fence, marks, writing. Runs on the store's thread."""

import sqlite3
from collections.abc import Mapping, Sequence

from attrs import define, frozen

from forebay.backends.checkpoints import Checkpoint, Checkpoints
from forebay.backends.ends import End
from forebay.backends.errors import FenceMissing, MarkMismatch, StaleToken
from forebay.backends.parked import parked_id
from forebay.backends.ports import Mark, ParkedRecord, Planted, QueuedJob, Token, Written
from forebay.backends.settled import Settled
from forebay.backends.sqlite import queue_checkpoints, queue_ends, queue_settled
from forebay.backends.sqlite.change import Change
from forebay.backends.sqlite.headers import pack
from forebay.backends.sqlite.queue_schema import DELAYED, IN_FLIGHT, PENDING


@frozen
class Batch:
    """The arguments of `Queue.write`, checked: a contiguous range and items within it."""

    topic: str
    token: Token
    epoch: str
    partition: int
    start: int
    to: int
    items: Sequence[QueuedJob | ParkedRecord]
    checkpoint: Checkpoint | None = None
    begins: bool = True

    def __attrs_post_init__(self) -> None:
        for item in self.items:
            if not self.start <= item.offset < self.to:
                raise ValueError(f"offset {item.offset} is not within {self.start}..{self.to - 1}")


@define
class _Tally:
    pending: int = 0
    queued: int = 0
    duplicates: int = 0
    redelivered: int = 0
    parked: int = 0
    settled: int = 0


def plant(connection: sqlite3.Connection, topic: str, token: Token, epoch: str) -> Planted:
    """Install the fence. `epoch` is taken where the topic has none yet. Raises `StaleToken`."""
    found = _fence(connection, topic)
    if found is None:
        connection.execute(
            "INSERT INTO topics (topic, epoch, generation, ordinal) VALUES (?, ?, ?, ?)",
            (topic, epoch, token.generation, token.index),
        )
        return Planted(epoch, {})
    stored, epoch = found
    if token < stored:
        raise StaleToken(topic, token, stored)
    connection.execute(
        "UPDATE topics SET generation = ?, ordinal = ? WHERE topic = ?",
        (token.generation, token.index, topic),
    )
    return Planted(epoch, _marks(connection, topic))


def marks(connection: sqlite3.Connection, topic: str, token: Token) -> dict[int, Mark]:
    """The marks, for the holder of the fence."""
    _require_fence(connection, topic, token)
    return _marks(connection, topic)


def _fence(connection: sqlite3.Connection, topic: str) -> tuple[Token, str] | None:
    row = connection.execute("SELECT generation, ordinal, epoch FROM topics WHERE topic = ?", (topic,)).fetchone()
    return None if row is None else (Token(row[0], row[1]), row[2])


def _require_fence(connection: sqlite3.Connection, topic: str, token: Token) -> str:
    """Return the epoch. A token larger than the fence was never planted here: writing with it would
    let the older term write too, so it is refused like a missing fence.
    """
    found = _fence(connection, topic)
    if found is not None and token < found[0]:
        raise StaleToken(topic, token, found[0])
    if found is None or token > found[0]:
        raise FenceMissing(f"topic {topic!r}: {token} is not planted in this queue; plant it first")
    return found[1]


def _marks(connection: sqlite3.Connection, topic: str) -> dict[int, Mark]:
    rows = connection.execute(
        "SELECT partition, next FROM marks WHERE topic = ? ORDER BY partition",
        (topic,),
    ).fetchall()
    return {
        partition: Mark(
            following,
            min(queue_settled.held(connection, topic, partition, 1), default=following),
            queue_checkpoints.of(connection, topic, partition),
        )
        for partition, following in rows
    }


def write(connection: sqlite3.Connection, batch: Batch, now: int) -> Change[Written]:
    """Write the batch and move the mark. `now` is Unix ms."""
    _require_epoch(connection, batch.topic, batch.token, batch.epoch)
    _require_mark(connection, batch)
    tally = _Tally()
    before = queue_settled.restored(connection, batch.topic, batch.partition)
    for item in batch.items:
        if before is not None and before.has_ended(item.offset):
            tally.settled += 1
        elif isinstance(item, ParkedRecord):
            _park(connection, batch, item, now)
            tally.parked += 1
        else:
            _take(connection, batch, item, now, tally)
    connection.execute(
        "INSERT OR REPLACE INTO marks (topic, partition, next) VALUES (?, ?, ?)",
        (batch.topic, batch.partition, batch.to),
    )
    if batch.checkpoint is not None:
        queue_checkpoints.add(connection, batch.topic, batch.partition, batch.checkpoint)
    if before is not None and batch.to >= before.end:
        queue_settled.forget(connection, batch.topic, batch.partition)
    written = Written(batch.to, tally.queued, tally.duplicates, tally.redelivered, tally.parked, tally.settled)
    return Change(written, readied=tally.pending)


def settled(connection: sqlite3.Connection, topic: str, token: Token) -> dict[int, Settled]:
    """What has ended, for the holder of the fence."""
    _require_fence(connection, topic, token)
    return queue_settled.settled(connection, topic)


def restore(
    connection: sqlite3.Connection,
    topic: str,
    token: Token,
    epoch: str,
    found: Mapping[int, Settled],
    checkpoints: Checkpoints,
) -> None:
    """Let partitions without a mark begin where an earlier queue stood."""
    _require_epoch(connection, topic, token, epoch)
    queue_settled.restore(connection, topic, found, checkpoints)


def rewind(connection: sqlite3.Connection, topic: str, token: Token, epoch: str, partition: int, to: int) -> None:
    """Move a mark back to where the log was cut."""
    _require_epoch(connection, topic, token, epoch)
    queue_checkpoints.rewind(connection, topic, partition, to)


def unwritten(connection: sqlite3.Connection, topic: str, token: Token, limit: int) -> tuple[End, ...]:
    """Ends that the log does not have, for the holder of the fence."""
    _require_fence(connection, topic, token)
    return queue_ends.unwritten(connection, topic, limit)


def written(connection: sqlite3.Connection, topic: str, token: Token, ends: Sequence[End]) -> None:
    """The log has these."""
    _require_fence(connection, topic, token)
    queue_ends.written(connection, topic, ends)


def _require_epoch(connection: sqlite3.Connection, topic: str, token: Token, epoch: str) -> None:
    stored = _require_fence(connection, topic, token)
    if stored != epoch:
        raise FenceMissing(f"topic {topic!r}: the queue's epoch is {stored}, not {epoch}; plant the fence again")


def _require_mark(connection: sqlite3.Connection, batch: Batch) -> None:
    row = connection.execute(
        "SELECT next FROM marks WHERE topic = ? AND partition = ?", (batch.topic, batch.partition)
    ).fetchone()
    if row is None and not batch.begins:
        raise FenceMissing(f"{batch.topic}/{batch.partition}: the queue has no mark of what came before {batch.start}")
    if row is not None and row[0] != batch.start:
        raise MarkMismatch(batch.topic, batch.partition, batch.start, row[0])


def _park(connection: sqlite3.Connection, batch: Batch, record: ParkedRecord, now: int) -> None:
    place = (batch.topic, batch.partition, record.offset)
    connection.execute(
        "INSERT INTO parked (id, topic, partition, offset, parked_at, error, headers, value, hold, unwritten) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?4, 1) ON CONFLICT DO UPDATE SET parked_at = excluded.parked_at, "
        "error = excluded.error, headers = excluded.headers, value = excluded.value, hold = excluded.hold, unwritten = 1",
        (
            parked_id(*place),
            *place,
            now,
            record.error,
            pack(record.headers),
            record.value,
        ),
    )


def _take(connection: sqlite3.Connection, batch: Batch, job: QueuedJob, now: int, tally: _Tally) -> None:
    if _redelivered(connection, batch, job, now):
        tally.redelivered += 1
        return
    first = _first_state(connection, batch.topic, job.dedup)
    if first is not None and (first != IN_FLIGHT or _has_successor(connection, batch.topic, job)):
        tally.duplicates += 1
        return
    ready_at = max(job.enqueued_at, job.not_before)
    state = PENDING if first is None and job.not_before <= now else DELAYED
    connection.execute(
        "INSERT INTO jobs (topic, id, state, ready_at, follows, dedup, partition, offset, hold, "
        "type, enqueued_at, headers, args) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            batch.topic,
            job.id,
            state,
            ready_at,
            first is not None,
            job.dedup,
            batch.partition,
            job.offset,
            job.offset,
            job.type,
            job.enqueued_at,
            pack(job.headers),
            job.args,
        ),
    )
    tally.queued += 1
    tally.pending += state == PENDING


def _redelivered(connection: sqlite3.Connection, batch: Batch, job: QueuedJob, now: int) -> bool:
    """Whether the instance is here already; then its hold moves to the new offset. A dead one whose end the log has
    is told of anew: somebody submitted it again, and its place is kept until he has it run or the log has its end once more.
    """
    return bool(
        connection.execute(
            "UPDATE jobs SET partition = ?, offset = ?, hold = ?, "
            "died_at = CASE WHEN state = 4 THEN coalesce(died_at, ?) END WHERE topic = ? AND id = ?",
            (batch.partition, job.offset, job.offset, now, batch.topic, job.id),
        ).rowcount
    )


_SAME_DEDUP = "FROM jobs WHERE topic = ? AND dedup = ? AND dedup IS NOT NULL AND state <> 4"


def _first_state(connection: sqlite3.Connection, topic: str, dedup: str | None) -> int | None:
    """The state of the unfinished job with this dedup id, None where there is none."""
    if dedup is None:
        return None
    row = connection.execute(f"SELECT state {_SAME_DEDUP} AND follows = 0", (topic, dedup)).fetchone()
    return None if row is None else int(row[0])


def _has_successor(connection: sqlite3.Connection, topic: str, job: QueuedJob) -> bool:
    row = connection.execute(f"SELECT 1 {_SAME_DEDUP} AND follows = 1", (topic, job.dedup))
    return row.fetchone() is not None
