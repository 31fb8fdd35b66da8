"""What the embedded log deletes, and when it refuses more (G3, R15)."""

from pathlib import Path

import pytest
from support.clock import ManualClock

from forebay.backends.errors import Full, UnknownPartition
from forebay.backends.ports import Acks, Extent, NewRecord, OutOfRange, TopicSpec, Want
from forebay.backends.sqlite import SqliteLog, log_connection, log_store
from forebay.backends.sqlite.room import Room

HOUR = 3600.0


class Disk:
    """Free bytes as a test sets them."""

    free = 1 << 40

    def __call__(self, folder: Path) -> int:
        return self.free


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
async def log(tmp_path, clock, disk):
    log = SqliteLog(tmp_path / "log.db", clock, Room(tmp_path, reserve=1000, free=disk))
    await log.start()
    await log.ensure([TopicSpec("jobs", 2, retention=HOUR, max_record=1000)])
    yield log
    await log.stop()


async def append(log, count, partition=0):
    await log.append([NewRecord("jobs", partition, b"v")] * count, Acks.LEADER)


async def start_of(connection, partition=0):
    return (await connection.extents())[partition].start


async def test_what_is_old_and_relayed_is_deleted(log, clock):
    connection = await log.connect("jobs")
    await append(log, 3)
    clock.advance(HOUR + 1)
    await append(log, 2)
    await connection.commit({0: 5})
    assert await connection.extents() == {0: Extent(3, 5), 1: Extent(0, 0)}
    found = await connection.fetch({0: Want(3, 9)}, 1)
    assert [r.offset for r in found[0]] == [3, 4]
    assert await connection.fetch({0: Want(2, 9)}, 1) == {0: OutOfRange(Extent(3, 5))}


async def test_what_was_not_relayed_is_never_deleted(log, clock):
    connection = await log.connect("jobs")
    await append(log, 3)
    await append(log, 3, partition=1)
    clock.advance(100 * HOUR)
    await connection.commit({0: 2})
    assert (await start_of(connection, 0), await start_of(connection, 1)) == (2, 0)


async def test_what_is_younger_than_the_retention_stays(log, clock):
    connection = await log.connect("jobs")
    await append(log, 3)
    clock.advance(HOUR - 1)
    await connection.commit({0: 3})
    assert await start_of(connection) == 0


async def test_offsets_go_on_after_everything_was_deleted(log, clock):
    connection = await log.connect("jobs")
    await append(log, 3)
    clock.advance(HOUR + 1)
    await connection.commit({0: 3})
    assert await connection.extents() == {0: Extent(3, 3), 1: Extent(0, 0)}
    assert list(await log.append([NewRecord("jobs", 0, b"v")], Acks.LEADER)) == [3]


async def test_a_young_record_keeps_those_behind_it_whatever_their_time(log, clock):
    connection = await log.connect("jobs")
    clock.jump(10 * HOUR)
    await append(log, 1)
    clock.jump(-10 * HOUR)
    await append(log, 1)
    clock.advance(2 * HOUR)
    await connection.commit({0: 2})
    assert await start_of(connection) == 0


async def test_the_log_is_looked_through_at_most_once_a_minute(log, clock):
    connection = await log.connect("jobs")
    await append(log, 1)
    await connection.commit({0: 1})
    clock.advance(HOUR + 1)
    await connection.commit({0: 1})
    assert await start_of(connection) == 1
    await append(log, 1)
    clock.jump(HOUR + 1)
    clock.advance(59)
    await connection.commit({0: 2})
    assert await start_of(connection) == 1
    clock.advance(1)
    await connection.commit({0: 2})
    assert await start_of(connection) == 2


async def test_a_large_deletion_is_done_in_bounded_steps(log, clock, monkeypatch):
    monkeypatch.setattr(log_store, "_PURGE_STEP", 2)
    monkeypatch.setattr(log_connection, "_PURGE_STEPS", 3)
    connection = await log.connect("jobs")
    await append(log, 9)
    clock.advance(HOUR + 1)
    starts = []
    for _ in range(3):
        await connection.commit({0: 9})
        starts.append(await start_of(connection))
    assert starts == [6, 9, 9]


async def test_partitions_that_a_topic_has_not_are_refused(log):
    connection = await log.connect("jobs")
    with pytest.raises(UnknownPartition):
        await connection.commit({2: 1})
    with pytest.raises(UnknownPartition):
        await connection.fetch({2: Want(0, 1)}, 0)


async def test_a_disk_that_is_nearly_full_refuses_more_and_still_serves_what_is_there(log, disk):
    connection = await log.connect("jobs")
    await append(log, 1)
    disk.free = 999
    with pytest.raises(Full, match="free some space"):
        await append(log, 1)
    assert list(await connection.fetch({0: Want(0, 9)}, 1)) == [0]
    await connection.commit({0: 1})
    disk.free = 1000
    await append(log, 1)
    assert (await connection.extents())[0] == Extent(0, 2)


async def test_a_fetch_serves_its_partitions_in_turn(log, monkeypatch):
    monkeypatch.setattr(log_store, "FETCH_BYTES", 1)
    connection = await log.connect("jobs")
    await append(log, 1)
    await append(log, 1, partition=1)
    wants = {0: Want(0, 1), 1: Want(0, 1)}
    served = [next(iter(await connection.fetch(wants, 1))) for _ in range(4)]
    assert sorted(served) == [0, 0, 1, 1]


async def test_a_compact_topic_holds_one_record_of_each_key_and_nothing_else_grows(log):
    await log.ensure([TopicSpec("kept", 1, retention=HOUR, max_record=1000, compact=True)])
    for number in range(7):
        await log.append([NewRecord("kept", 0, b"%d" % number, key=b"%d" % (number % 2))], Acks.LEADER)
    connection = await log.connect("kept")
    assert await connection.extents() == {0: Extent(5, 7)}
    found = await connection.fetch({0: Want(5, 9)}, 1)
    assert [(r.offset, r.value) for r in found[0]] == [(5, b"5"), (6, b"6")]
    await log.append([NewRecord("kept", 0, b"7", key=b"0"), NewRecord("kept", 0, b"8", key=b"0")], Acks.LEADER)
    found = await connection.fetch({0: Want(5, 9)}, 1)
    assert [(r.offset, r.value) for r in found[0]] == [(5, b"5"), (8, b"8")]
