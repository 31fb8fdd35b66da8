"""What the embedded queue costs at any backlog, and that a full disk does not lock it (Q3, Q4)."""

import re
import sqlite3
from random import Random

import pytest
from support.clock import ManualClock
from support.relay import Term, job

from forebay.backends.errors import Full
from forebay.backends.ports import (
    Counts,
    Dead,
    Done,
    JobState,
    Lease,
    ParkedRecord,
    QueuedJob,
    Release,
    Retry,
    Token,
)
from forebay.backends.sqlite import SqliteQueue, queue_people, queue_relay, queue_work
from forebay.backends.sqlite.queue_schema import SCHEMA, STATES
from forebay.backends.sqlite.room import Room
from forebay.backends.sqlite.store import open_store

NOW = queue_work.Now(wall=1_700_000_000_000, monotonic=1000.0)
LEASE = Lease("w", 1, 30.0)

BATCH = queue_relay.Batch(
    "jobs",
    Token(1, 1),
    "e",
    partition=0,
    start=0,
    to=4,
    items=[
        QueuedJob(0, "a", "t", b"", dedup="d"),
        QueuedJob(1, "a", "t", b""),
        QueuedJob(2, "b", "t", b"", dedup="d"),
        ParkedRecord(3, "e", b""),
    ],
)

OPERATIONS = {
    "write": lambda c: queue_relay.write(c, BATCH, 0),
    "marks": lambda c: queue_relay.marks(c, "jobs", Token(1, 1)),
    "claimable": lambda c: queue_work.claimable(c, ("jobs",)),
    "claim": lambda c: queue_work.claim(c, "jobs", LEASE, 10, NOW),
    "renew": lambda c: queue_work.renew(c, "jobs", "w", 1, 1030.0),
    "end": lambda c: queue_work.end(
        c,
        "jobs",
        "w",
        [Done("a", 1), Dead("d", 1, "e"), Retry("b", 1, 1, "e"), Release("c", 1)],
        NOW,
    ),
    "promote": lambda c: queue_work.promote(c, "jobs", 10, NOW),
    "reap": lambda c: queue_work.reap(c, "jobs", 10, NOW),
    "counts": lambda c: queue_people.counts(c, "jobs"),
    "browse": lambda c: queue_people.browse(c, "jobs", JobState.DEAD, 10, ""),
    "browse parked": lambda c: queue_people.browse(c, "jobs", JobState.PARKED, 10, ""),
    "discard": lambda c: queue_people.discard(c, "jobs", ["a"]),
    "retire": lambda c: queue_people.retire(c, "jobs", ["a"]),
    "resubmit": lambda c: queue_people.resubmit(c, "jobs", ["a"], 0),
}

# A table read without an index, or a sort of what was found, costs more the more there is.
GROWS = re.compile(r"SCAN (jobs|parked|other)\b|TEMP B-TREE")


def plans(connection, operation):
    """Every statement that the operation runs, with the plan that SQLite makes for it."""
    statements = []
    connection.set_trace_callback(statements.append)
    operation(connection)
    connection.set_trace_callback(None)
    for statement in statements:
        if not statement.startswith("--"):  # a trigger's own statements are marked as comments
            rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            yield statement, [row[3] for row in rows]


@pytest.fixture
def connection(tmp_path):
    connection = open_store(tmp_path / "q.db", SCHEMA)
    connection.execute("INSERT INTO topics VALUES ('jobs', 'e', 1, 1, 0)")
    yield connection
    connection.close()


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_scans_or_sorts_the_backlog(connection, name):
    found = list(plans(connection, OPERATIONS[name]))
    assert found
    for statement, plan in found:
        assert not any(GROWS.search(step) for step in plan), (statement, plan)


def test_the_check_of_plans_finds_a_scan_and_a_sort(connection):
    def bad(c):
        c.execute("SELECT number FROM jobs WHERE attempt = 3 ORDER BY attempt, error").fetchall()

    ((_, plan),) = plans(connection, bad)
    assert sum(bool(GROWS.search(step)) for step in plan) == 2


class Disk:
    free = 1 << 40

    def __call__(self, folder):
        return self.free


@pytest.fixture
async def small(tmp_path):
    disk = Disk()
    room = Room(tmp_path, reserve=1000, free=disk)
    queue = SqliteQueue(tmp_path / "q.db", ManualClock(), Random(1), room)
    await queue.start()
    yield queue, disk
    await queue.stop()


async def test_a_queue_on_a_full_disk_refuses_more_and_drains(small):
    queue, disk = small
    term = await Term(queue).begin()
    await term.write(*(job(f"j{n}") for n in range(50)))
    disk.free = 0
    with pytest.raises(Full):
        await term.write(job("more"))
    assert (await term.mark()).next == 50
    claims = await queue.claim("jobs", LEASE, 100)
    assert all(await queue.end("jobs", "w", [Done(c.id, c.epoch) for c in claims]))
    assert len(claims) == 50
    disk.free = 1000
    assert (await term.write(job("more"))).queued == 1


async def test_the_counters_agree_with_the_rows(small, tmp_path):
    queue, _ = small
    term = await Term(queue).begin()
    await term.write(*(job(f"j{n}", dedup=f"d{n % 4}") for n in range(9)))
    await queue.claim("jobs", LEASE, 2)
    await term.write(job("next", dedup="d0"))
    counted = await queue.counts("jobs")
    with sqlite3.connect(tmp_path / "q.db") as other:
        rows = dict(other.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
    other.close()
    assert counted == Counts(**{s.value: rows.get(n, 0) for s, n in STATES.items()})
    assert counted == Counts(pending=2, delayed=1, retrying=0, in_flight=2, dead=0, parked=0)
