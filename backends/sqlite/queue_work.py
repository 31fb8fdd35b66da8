"""The workers' side of the embedded queue: claims, leases, outcomes. Runs on the store's thread.

A lease belongs to a worker as a whole and ends on this process's monotonic clock, so a step of the
wall clock lapses nothing. Lease epochs are numbers of claim calls per topic: they grow, and no two
leases of one job share one, even when the job was done and its id came back. A lease is the
holder's until the job is reaped; an outcome that arrives after the lease lapsed and before that
still counts, because nobody else was given the job.
"""
# ruff: noqa: S608 - statements are put together from the constants below; every value is bound

import math
import sqlite3
from collections.abc import Sequence

from attrs import frozen

from forebay.backends.ports import Claim, Dead, Done, Lease, Moved, Outcome, Release, Retry
from forebay.backends.sqlite.change import Change
from forebay.backends.sqlite.headers import unpack
from forebay.backends.sqlite.queue_schema import PENDING, RETRYING

CLAIMABLE = "SELECT number FROM jobs WHERE topic = ? AND state = 0 ORDER BY ready_at, number LIMIT ?"
DUE = (
    "SELECT number FROM jobs WHERE topic = ? AND state IN (1, 2) AND follows = 0 AND ready_at <= ? ORDER BY ready_at LIMIT ?"
)
LEASED = "SELECT number FROM jobs WHERE topic = ? AND worker = ? AND state = 3 ORDER BY sequence LIMIT ?"
_HELD = "topic = ? AND id = ? AND state = 3 AND worker = ? AND epoch = ?"
_SUCCESSOR = "topic = ? AND dedup = ? AND dedup IS NOT NULL AND state <> 4 AND follows = 1"
_TO_PENDING = "state = 0, worker = NULL, sequence = NULL, epoch = NULL"
_UNDO_CLAIM = f"{_TO_PENDING}, attempt = attempt - 1"

_CLAIM = f"""
    UPDATE jobs SET state = 3, worker = ?, sequence = ?, epoch = ?, attempt = attempt + 1
    WHERE number IN ({CLAIMABLE})
"""
_REMEMBER = """
    INSERT INTO workers (topic, worker, sequence, lease_end) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET sequence = excluded.sequence,
        lease_end = max(coalesce(lease_end, excluded.lease_end), excluded.lease_end)
"""
_GIVE_BACK = f"""
    UPDATE jobs SET {_UNDO_CLAIM} WHERE topic = ? AND worker = ? AND sequence > ? AND state = 3
"""
_DONE = f"DELETE FROM jobs WHERE {_HELD} RETURNING dedup"
_DEAD = f"""
    UPDATE jobs SET state = 4, died_at = ?, error = ?, worker = NULL, sequence = NULL, epoch = NULL
    WHERE {_HELD} RETURNING dedup
"""
_RETRY = f"""
    UPDATE jobs SET state = ?, ready_at = ?, error = ?, worker = NULL, sequence = NULL, epoch = NULL
    WHERE {_HELD}
"""
_RELEASE = f"UPDATE jobs SET {_UNDO_CLAIM} WHERE {_HELD}"
_START_SUCCESSOR = f"""
    UPDATE jobs SET follows = 0, state = CASE WHEN ready_at > ? THEN 1 ELSE 0 END
    WHERE {_SUCCESSOR} RETURNING state
"""
_PROMOTE = f"UPDATE jobs SET state = 0 WHERE number IN ({DUE})"
_REAP = f"UPDATE jobs SET {_TO_PENDING} WHERE number IN ({LEASED})"


@frozen
class Now:
    """One instant on both clocks: `wall` in Unix ms, `monotonic` in seconds."""

    wall: int
    monotonic: float

    def wall_at(self, monotonic: float) -> int:
        """Unix ms of an instant of the monotonic clock, rounded up."""
        return self.wall + max(0, math.ceil((monotonic - self.monotonic) * 1000))


def end_all_leases(connection: sqlite3.Connection) -> None:
    """At start: the folder admits one process, so no worker of an earlier one is running."""
    connection.execute("UPDATE workers SET lease_end = NULL")


def claimable(connection: sqlite3.Connection, topics: Sequence[str]) -> bool:
    """Whether one of the topics has a pending job."""
    return any(connection.execute(CLAIMABLE, (topic, 1)).fetchone() for topic in topics)


def claim(connection: sqlite3.Connection, topic: str, lease: Lease, limit: int, now: Now) -> tuple[Claim, ...]:
    """Lease pending jobs, or repeat the answer to a claim call that was made before."""
    row = connection.execute("SELECT sequence FROM workers WHERE topic = ? AND worker = ?", (topic, lease.worker)).fetchone()
    if row is None or lease.sequence > row[0]:
        _lease(connection, topic, lease, limit)
        connection.execute(
            _REMEMBER,
            (topic, lease.worker, lease.sequence, now.monotonic + lease.ttl),
        )
    return _claims(connection, topic, lease)


def _lease(connection: sqlite3.Connection, topic: str, lease: Lease, limit: int) -> None:
    epoch = connection.execute("UPDATE topics SET leases = leases + 1 WHERE topic = ? RETURNING leases", (topic,)).fetchall()
    if epoch:  # a topic without a fence never had a job
        connection.execute(
            _CLAIM,
            (lease.worker, lease.sequence, epoch[0][0], topic, limit),
        )


def _claims(connection: sqlite3.Connection, topic: str, lease: Lease) -> tuple[Claim, ...]:
    rows = connection.execute(
        "SELECT id, type, epoch, attempt, args, enqueued_at, headers FROM jobs "
        "WHERE topic = ? AND worker = ? AND sequence = ? AND state = 3 ORDER BY ready_at, number",
        (topic, lease.worker, lease.sequence),
    )
    return tuple(
        Claim(topic, id_, type_, epoch, attempt, lease.sequence, args, enqueued_at, unpack(headers))
        for id_, type_, epoch, attempt, args, enqueued_at, headers in rows
    )


def renew(
    connection: sqlite3.Connection, topic: str, worker: str, received: int, lease_end: float
) -> Change[frozenset[tuple[str, int]]]:
    """Give back what was never received, renew the lease, and say what the worker holds."""
    given_back = connection.execute(_GIVE_BACK, (topic, worker, received)).rowcount
    connection.execute(
        "UPDATE workers SET lease_end = ? WHERE topic = ? AND worker = ?",
        (lease_end, topic, worker),
    )
    held = connection.execute("SELECT id, epoch FROM jobs WHERE topic = ? AND worker = ? AND state = 3", (topic, worker))
    return Change(frozenset(held), readied=given_back)


def end(
    connection: sqlite3.Connection, topic: str, worker: str, outcomes: Sequence[Outcome], now: Now
) -> Change[tuple[bool, ...]]:
    """Record outcomes in order."""
    accepted, readied = [], 0
    for outcome in outcomes:
        ended = _record(connection, topic, worker, outcome, now)
        accepted.append(ended is not None)
        readied += ended or 0
    return Change(tuple(accepted), readied)


def _record(connection: sqlite3.Connection, topic: str, worker: str, outcome: Outcome, now: Now) -> int | None:
    """How many jobs became claimable; None where the lease is not the worker's any more."""
    held = (topic, outcome.id, worker, outcome.epoch)
    match outcome:
        case Done():
            rows = connection.execute(_DONE, held).fetchall()
        case Dead():
            rows = connection.execute(_DEAD, (now.wall, outcome.error, *held)).fetchall()
        case Retry():
            return _retry(connection, outcome, held, now)
        case Release():
            return connection.execute(_RELEASE, held).rowcount or None
    return _start_successor(connection, topic, rows[0][0], now) if rows else None


def _retry(connection: sqlite3.Connection, outcome: Retry, held: tuple[object, ...], now: Now) -> int | None:
    due = now.wall + math.ceil(outcome.delay * 1000)
    state = RETRYING if due > now.wall else PENDING
    found = connection.execute(_RETRY, (state, due, outcome.error, *held)).rowcount
    return int(state == PENDING) if found else None


def _start_successor(connection: sqlite3.Connection, topic: str, dedup: str | None, now: Now) -> int:
    """The first job with this dedup id has ended: the one that followed it takes its place."""
    if dedup is None:
        return 0
    rows = connection.execute(_START_SUCCESSOR, (now.wall, topic, dedup)).fetchall()
    return sum(state == PENDING for (state,) in rows)


def promote(connection: sqlite3.Connection, topic: str, limit: int, now: Now) -> Change[Moved]:
    """Make due jobs pending, the one that is due longest first."""
    moved = connection.execute(_PROMOTE, (topic, now.wall, limit)).rowcount
    row = connection.execute(
        "SELECT min(ready_at) FROM jobs WHERE topic = ? AND state IN (1, 2) AND follows = 0",
        (topic,),
    ).fetchone()
    return Change(Moved(moved, row[0]), readied=moved)


def reap(connection: sqlite3.Connection, topic: str, limit: int, now: Now) -> Change[Moved]:
    """Take the jobs of lapsed workers back. Their attempts count: the job may be what killed the
    worker.
    """
    lapsed = connection.execute(
        "SELECT worker FROM workers WHERE topic = ? AND (lease_end IS NULL OR lease_end <= ?) ORDER BY worker",
        (topic, now.monotonic),
    ).fetchall()
    taken = 0
    for (worker,) in lapsed:
        taken += connection.execute(_REAP, (topic, worker, limit - taken)).rowcount
        _forget(connection, topic, worker)
    return Change(Moved(taken, _next_lapse(connection, topic, now)), readied=taken)


def _forget(connection: sqlite3.Connection, topic: str, worker: str) -> None:
    if connection.execute(LEASED, (topic, worker, 1)).fetchone() is None:
        connection.execute("DELETE FROM workers WHERE topic = ? AND worker = ?", (topic, worker))


def _next_lapse(connection: sqlite3.Connection, topic: str, now: Now) -> int | None:
    rows = connection.execute(
        "SELECT lease_end FROM workers WHERE topic = ? AND EXISTS (SELECT 1 FROM jobs "
        "WHERE jobs.topic = workers.topic AND jobs.worker = workers.worker AND jobs.state = 3)",
        (topic,),
    ).fetchall()
    ends = [now.monotonic if lease_end is None else lease_end for (lease_end,) in rows]
    return now.wall_at(min(ends)) if ends else None
