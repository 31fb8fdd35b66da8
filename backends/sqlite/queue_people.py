"""What people do with the embedded queue: count, look, resubmit, discard. Runs on the store's
thread.
"""

import sqlite3
from collections.abc import Sequence

from forebay.backends.ports import Counts, JobState, JobView
from forebay.backends.sqlite.change import Change
from forebay.backends.sqlite.queue_schema import STATES


def counts(connection: sqlite3.Connection, topic: str) -> Counts:
    """Read the counters that the triggers keep."""
    found = dict(connection.execute("SELECT state, jobs FROM counts WHERE topic = ?", (topic,)).fetchall())
    return Counts(**{state.value: found.get(number, 0) for state, number in STATES.items()})


def browse(connection: sqlite3.Connection, topic: str, state: JobState, limit: int, after: str) -> tuple[JobView, ...]:
    """Jobs in one state by id."""
    if state is JobState.PARKED:
        return _parked(connection, topic, limit, after)
    rows = connection.execute(
        "SELECT id, type, attempt, args, error, enqueued_at, partition, offset, "
        "CASE WHEN state IN (1, 2) AND follows = 0 THEN ready_at END "
        "FROM jobs WHERE topic = ? AND state = ? AND id > ? ORDER BY id LIMIT ?",
        (topic, STATES[state], after, limit),
    )
    return tuple(
        JobView(
            topic=topic,
            id=id_,
            type=type_,
            state=state,
            attempt=attempt,
            args=args,
            error=error,
            enqueued_at=enqueued_at,
            due=due,
            partition=partition,
            offset=offset,
        )
        for id_, type_, attempt, args, error, enqueued_at, partition, offset, due in rows
    )


def _parked(connection: sqlite3.Connection, topic: str, limit: int, after: str) -> tuple[JobView, ...]:
    rows = connection.execute(
        "SELECT id, error, value, parked_at, partition, offset FROM parked WHERE topic = ? AND id > ? ORDER BY id LIMIT ?",
        (topic, after, limit),
    )
    return tuple(
        JobView(
            topic=topic,
            id=id_,
            type="",
            state=JobState.PARKED,
            attempt=0,
            args=value,
            error=error,
            enqueued_at=parked_at,
            partition=partition,
            offset=offset,
        )
        for id_, error, value, parked_at, partition, offset in rows
    )


def resubmit(connection: sqlite3.Connection, topic: str, ids: Sequence[str], now: int) -> Change[int]:
    """Dead jobs to pending. A dedup id that another job has meanwhile is dropped: a person asked
    for this run.
    """
    moved = sum(_resubmit(connection, topic, id_, now) for id_ in ids)
    return Change(moved, readied=moved)


def _resubmit(connection: sqlite3.Connection, topic: str, id_: str, now: int) -> int:
    return connection.execute(
        "UPDATE jobs SET state = 0, attempt = 0, error = NULL, ready_at = ?, "
        "dedup = CASE WHEN EXISTS ("
        "SELECT 1 FROM jobs AS other WHERE other.topic = jobs.topic AND other.dedup = jobs.dedup "
        "AND other.dedup IS NOT NULL AND other.state <> 4) THEN NULL ELSE dedup END "
        "WHERE topic = ? AND id = ? AND state = 4",
        (now, topic, id_),
    ).rowcount


def discard(connection: sqlite3.Connection, topic: str, ids: Sequence[str]) -> int:
    """Remove dead jobs and parked records."""
    gone = 0
    for id_ in ids:
        gone += connection.execute("DELETE FROM jobs WHERE topic = ? AND id = ? AND state = 4", (topic, id_)).rowcount
        gone += connection.execute("DELETE FROM parked WHERE topic = ? AND id = ?", (topic, id_)).rowcount
    return gone
