"""What people do with the embedded queue: count, look, resubmit, discard. Runs on the store's
thread.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from forebay.backends.ports import Counts, JobState, JobView
from forebay.backends.sqlite.change import Change
from forebay.backends.sqlite.headers import unpack
from forebay.backends.sqlite.queue_schema import STATES


def counts(connection: sqlite3.Connection, topic: str) -> Counts:
    """Read the counters that the triggers keep."""
    found = dict(connection.execute("SELECT state, jobs FROM counts WHERE topic = ?", (topic,)).fetchall())
    return Counts(**{state.value: found.get(number, 0) for state, number in STATES.items()})


_JOB = (
    "SELECT id, type, state, attempt, args, error, enqueued_at, partition, offset, headers, "
    "CASE WHEN state IN (1, 2) AND follows = 0 THEN ready_at END, dedup FROM jobs WHERE topic = ? "
)
_PARKED = "SELECT id, error, value, parked_at, partition, offset, headers FROM parked WHERE topic = ? "
_BY_NUMBER = {number: state for state, number in STATES.items()}


def browse(connection: sqlite3.Connection, topic: str, state: JobState, limit: int, after: str) -> tuple[JobView, ...]:
    """Jobs in one state by id."""
    if state is JobState.PARKED:
        rows = connection.execute(f"{_PARKED} AND id > ? ORDER BY id LIMIT ?", (topic, after, limit))
        return tuple(_parked_view(topic, row) for row in rows)
    query = f"{_JOB} AND state = ? AND id > ? ORDER BY id LIMIT ?"
    rows = connection.execute(query, (topic, STATES[state], after, limit))
    return tuple(_job_view(topic, row) for row in rows)


def find(connection: sqlite3.Connection, topic: str, ids: Sequence[str]) -> tuple[JobView, ...]:
    """Jobs and parked records by id."""
    views = (_find(connection, topic, id_) for id_ in ids)
    return tuple(view for view in views if view is not None)


def _find(connection: sqlite3.Connection, topic: str, id_: str) -> JobView | None:
    row = connection.execute(f"{_JOB} AND id = ?", (topic, id_)).fetchone()
    if row is not None:
        return _job_view(topic, row)
    row = connection.execute(f"{_PARKED} AND id = ?", (topic, id_)).fetchone()
    return None if row is None else _parked_view(topic, row)


def _job_view(topic: str, row: tuple[Any, ...]) -> JobView:
    id_, type_, state, attempt, args, error, enqueued_at, partition, offset, headers, due, dedup = row
    return JobView(
        topic=topic,
        id=id_,
        type=type_,
        state=_BY_NUMBER[state],
        attempt=attempt,
        args=args,
        error=error,
        enqueued_at=enqueued_at,
        due=due,
        partition=partition,
        offset=offset,
        headers=unpack(headers),
        dedup=dedup,
    )


def _parked_view(topic: str, row: tuple[Any, ...]) -> JobView:
    id_, error, value, parked_at, partition, offset, headers = row
    return JobView(
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
        headers=unpack(headers),
    )


def resubmit(connection: sqlite3.Connection, topic: str, ids: Sequence[str], now: int) -> Change[int]:
    """Dead jobs that hold their offsets to pending. A dedup id that another job has meanwhile is dropped: a person asked
    for this run.
    """
    moved = sum(_resubmit(connection, topic, id_, now) for id_ in ids)
    return Change(moved, readied=moved)


def _resubmit(connection: sqlite3.Connection, topic: str, id_: str, now: int) -> int:
    return connection.execute(
        "UPDATE jobs SET state = 0, attempt = 0, error = NULL, died_at = NULL, ready_at = ?, "
        "dedup = CASE WHEN EXISTS ("
        "SELECT 1 FROM jobs AS other WHERE other.topic = jobs.topic AND other.dedup = jobs.dedup "
        "AND other.dedup IS NOT NULL AND other.state <> 4) THEN NULL ELSE dedup END "
        "WHERE topic = ? AND id = ? AND state = 4 AND hold IS NOT NULL",
        (now, topic, id_),
    ).rowcount


def retire(connection: sqlite3.Connection, topic: str, ids: Sequence[str]) -> int:
    """Remove dead jobs that hold no offset."""
    query = "DELETE FROM jobs WHERE topic = ? AND id = ? AND state = 4 AND hold IS NULL"
    return sum(connection.execute(query, (topic, id_)).rowcount for id_ in ids)


def discard(connection: sqlite3.Connection, topic: str, ids: Sequence[str]) -> int:
    """Remove dead jobs and parked records."""
    gone = 0
    for id_ in ids:
        gone += connection.execute("DELETE FROM jobs WHERE topic = ? AND id = ? AND state = 4", (topic, id_)).rowcount
        gone += connection.execute("DELETE FROM parked WHERE topic = ? AND id = ?", (topic, id_)).rowcount
    return gone
