"""The `Log` port, sentence by sentence (G1, G3, G4, R4, R6).

What a test reads at once is appended with `Acks.ALL`: what one broker alone has may come a little later.
"""

import asyncio

import pytest
from support.adapters import LOGS
from support.opening import serves_nobody_before_it_is_open

from forebay.backends.errors import (
    BackendError,
    RecordTooLarge,
    Unavailable,
    UnknownPartition,
    UnknownTopic,
)
from forebay.backends.ports import Acks, Extent, NewRecord, OutOfRange, TopicSpec, Want

ADAPTERS = LOGS
MIB = 1 << 20
JOBS = TopicSpec("jobs", partitions=3, retention=3600, max_record=16 * MIB)


@pytest.fixture
async def log(site):
    await site.port.ensure([JOBS])
    return site.port


def record(value=b"v", partition=0, **more):
    return NewRecord("jobs", partition, value, **more)


async def values(connection, partition, offset=0, wait=5.0):
    found = await connection.fetch({partition: Want(offset, 1000)}, wait)
    return [r.value for r in found.get(partition, ())]


# topics


async def test_ensure_makes_empty_partitions(log):
    connection = await log.connect("jobs")
    assert await connection.extents() == {p: Extent(0, 0) for p in range(3)}


async def test_a_topic_offers_acks_once_it_is_ensured_and_says_what_they_are_worth(log):
    """G4."""
    offered = log.offers("jobs")
    assert Acks.LEADER in offered
    assert all(offered.values())
    for number, acks in enumerate(offered):
        assert list(await log.append([record()], acks)) == [number]
    assert log.offers("nowhere") == {}


async def test_ensure_again_changes_nothing(log):
    await log.append([record()], Acks.ALL)
    await log.ensure([JOBS])
    assert (await (await log.connect("jobs")).extents())[0] == Extent(0, 1)


async def test_ensure_adds_partitions_and_keeps_what_is_there(log):
    await log.append([record(b"kept")], Acks.LEADER)
    await log.ensure([TopicSpec("jobs", 5, 3600, MIB)])
    await log.append([record(b"new", partition=4)], Acks.LEADER)
    connection = await log.connect("jobs")
    assert await values(connection, 0) == [b"kept"]
    assert await values(connection, 4) == [b"new"]


async def test_a_topic_never_loses_partitions(log):
    with pytest.raises(BackendError):
        await log.ensure([TopicSpec("other", 1, 3600, MIB), TopicSpec("jobs", 2, 3600, MIB)])
    assert len(await (await log.connect("jobs")).extents()) == 3


async def test_connecting_to_a_missing_topic_is_refused(log):
    with pytest.raises(UnknownTopic):
        await log.connect("nowhere")


# append


async def test_offsets_come_in_the_order_given_and_are_contiguous_per_partition(log):
    first = await log.append([record(partition=p) for p in (0, 1, 0, 2, 0, 1)], Acks.LEADER)
    second = await log.append([record(partition=p) for p in (1, 0)], Acks.ALL)
    assert list(first) == [0, 0, 1, 0, 2, 1]
    assert list(second) == [2, 3]


async def test_appending_nothing_gives_no_offsets(log):
    assert list(await log.append([], Acks.LEADER)) == []


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (NewRecord("nowhere", 0, b""), UnknownTopic),
        (record(partition=3), UnknownPartition),
        (record(partition=-1), UnknownPartition),
        (record(b"x" * (17 * MIB)), RecordTooLarge),
    ],
    ids=["topic", "partition", "negative partition", "size"],
)
async def test_a_bad_record_is_refused_before_anything_is_written(log, bad, error):
    with pytest.raises(error):
        await log.append([record(), bad, record()], Acks.LEADER)
    assert (await (await log.connect("jobs")).extents())[0] == Extent(0, 0)


async def test_a_record_comes_back_as_it_was_appended(log, site):
    headers = (("a", b"\x00\xff"), ("a", b"again"), ("empty", b""))
    before = site.clock.wall()
    await log.append([record(bytes(range(256)), key=b"\x00k", headers=headers), record(b"")], Acks.LEADER)
    found = (await (await log.connect("jobs")).fetch({0: Want(0, 10)}, 5))[0]
    assert [(r.topic, r.partition, r.offset) for r in found] == [("jobs", 0, 0), ("jobs", 0, 1)]
    assert (found[0].value, found[0].key, found[0].headers) == (
        bytes(range(256)),
        b"\x00k",
        headers,
    )
    assert (found[1].value, found[1].key, found[1].headers) == (b"", None, ())
    assert all(before <= r.timestamp <= site.clock.wall() for r in found)


async def test_concurrent_appends_get_an_offset_each_and_none_is_lost(log):
    async def one(number):
        return (await log.append([record(b"%d" % number)], Acks.ALL))[0], b"%d" % number

    answers = await asyncio.gather(*(one(n) for n in range(300)))
    assert sorted(offset for offset, _ in answers) == list(range(300))
    found = await values(await log.connect("jobs"), 0)
    assert found == [value for _, value in sorted(answers)]


async def test_a_log_that_is_being_opened_serves_nobody_yet(log):
    await serves_nobody_before_it_is_open(log, lambda: log.append([record(b"v")], Acks.LEADER))


async def test_what_was_acknowledged_is_there_after_a_restart(log, site):
    await log.append([record(b"one"), record(b"two")], Acks.ALL)
    again = await site.reopen()
    await again.ensure([JOBS])
    assert list(await again.append([record(b"three")], Acks.ALL)) == [2]
    assert await values(await again.connect("jobs"), 0) == [b"one", b"two", b"three"]


# fetch


async def test_fetch_begins_at_the_offset_and_gives_at_most_what_is_wanted(log):
    await log.append([record(b"%d" % n) for n in range(10)], Acks.LEADER)
    found = await (await log.connect("jobs")).fetch({0: Want(3, 4)}, 5)
    assert [(r.offset, r.value) for r in found[0]] == [(n, b"%d" % n) for n in (3, 4, 5, 6)]


async def test_any_order_of_positions_and_sizes_gives_what_lies_there(log):
    """What a step leaves unread is neither lost nor given where it does not belong."""
    for first in (0, 60):
        await log.append([record(b"%d" % n, partition=p) for n in range(first, first + 60) for p in (0, 1)], Acks.ALL)
    connection = await log.connect("jobs")
    for offset, size in [
        (0, 7),
        (7, 7),
        (14, 100),
        (20, 5),
        (25, 5),
        (25, 5),
        (30, 40),
        (70, 100),
        (0, 1),
        (1, 1),
        (119, 5),
    ]:
        wants = {0: Want(offset, size), 1: Want(119 - offset, 3)}
        found = {}
        while len(found) < len(wants):
            found |= await connection.fetch({p: want for p, want in wants.items() if p not in found}, 5)
        for partition, want in wants.items():
            values = [int(r.value) for r in found[partition]]
            assert values == list(range(want.offset, want.offset + len(values)))
            assert 1 <= len(values) <= want.max_records


async def test_a_partition_with_nothing_new_is_absent(log):
    await log.append([record(), record(partition=1)], Acks.ALL)
    connection = await log.connect("jobs")
    found = await connection.fetch({0: Want(0, 9), 1: Want(1, 9), 2: Want(0, 9)}, 5)
    assert list(found) == [0]
    assert connection.held_up == {}


async def test_fetch_gives_up_after_its_wait(log):
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert await (await log.connect("jobs")).fetch({0: Want(0, 9)}, 0.1) == {}
    assert loop.time() - begin >= 0.1


async def test_fetch_without_a_wait_returns_what_is_there(log):
    connection = await log.connect("jobs")
    assert await connection.fetch({0: Want(0, 9)}, 0) == {}
    await log.append([record()], Acks.ALL)
    assert list(await connection.fetch({0: Want(0, 9)}, 0)) == [0]


async def test_a_waiting_fetch_returns_when_a_record_arrives(log):
    connection = await log.connect("jobs")
    waiting = asyncio.create_task(connection.fetch({0: Want(0, 9), 2: Want(0, 9)}, 600))
    await log.append([record(partition=1)], Acks.LEADER)
    await log.append([record(b"news", partition=2)], Acks.LEADER)
    found = await waiting
    assert [r.value for r in found[2]] == [b"news"]


async def test_a_position_outside_the_partition_is_out_of_range_for_it_alone(log):
    await log.append([record(b"here"), record(partition=1)], Acks.ALL)
    wants = {0: Want(0, 9), 1: Want(2, 9), 2: Want(0, 9)}
    found = await (await log.connect("jobs")).fetch(wants, 5)
    assert [r.value for r in found[0]] == [b"here"]
    assert found[1] == OutOfRange(Extent(0, 1))
    assert 2 not in found


async def test_an_answer_is_bounded_and_yet_everything_arrives(log):
    for _ in range(4):
        await log.append([record(b"x" * MIB, partition=p) for p in (0, 1, 2)], Acks.LEADER)
    connection = await log.connect("jobs")
    positions = dict.fromkeys(range(3), 0)
    while sum(positions.values()) < 12:
        found = await connection.fetch({p: Want(o, 100) for p, o in positions.items()}, 5)
        assert 0 < sum(len(r.value) for rs in found.values() for r in rs) <= 8 * MIB
        for partition, records in found.items():
            assert [r.offset for r in records] == [positions[partition] + n for n in range(len(records))]
            positions[partition] += len(records)


async def test_a_record_larger_than_an_answer_is_still_given(log):
    await log.append([record(b"x" * (9 * MIB)), record(b"small")], Acks.LEADER)
    connection = await log.connect("jobs")
    assert [len(v) for v in await values(connection, 0)] == [9 * MIB]
    assert await values(connection, 0, offset=1) == [b"small"]


async def test_two_connections_of_a_topic_read_on_their_own(log):
    one, other = await log.connect("jobs"), await log.connect("jobs")
    await log.append([record(b"a")], Acks.LEADER)
    assert await values(one, 0) == await values(other, 0) == [b"a"]


# connections


async def test_reenqueueing_through_a_connection_is_an_append(log):
    connection = await log.connect("jobs")
    assert list(await connection.append([record(b"again", partition=1)], Acks.ALL)) == [0]
    assert await values(connection, 1) == [b"again"]


async def test_a_commit_moves_nobody(log):
    await log.append([record(b"a"), record(b"b")], Acks.LEADER)
    connection = await log.connect("jobs")
    await connection.commit({0: 2})
    assert await values(connection, 0) == [b"a", b"b"]
    assert await values(await log.connect("jobs"), 0) == [b"a", b"b"]


async def test_closing_a_connection_leaves_the_log_and_the_others_alone(log):
    one, other = await log.connect("jobs"), await log.connect("jobs")
    await one.close()
    await log.append([record(b"a")], Acks.LEADER)
    assert await values(other, 0) == [b"a"]


async def test_a_fetch_that_waits_while_its_connection_closes_ends(log):
    connection = await log.connect("jobs")
    waiting = asyncio.create_task(connection.fetch({0: Want(0, 9)}, 600))
    await connection.extents()
    await connection.close()
    with pytest.raises(Unavailable):
        await waiting


async def test_a_fetch_that_waits_while_the_log_stops_ends(log):
    connection = await log.connect("jobs")
    waiting = asyncio.create_task(connection.fetch({0: Want(0, 9)}, 600))
    await connection.extents()
    await log.stop()
    with pytest.raises(Unavailable):
        await waiting


async def test_a_stopped_log_is_unavailable(log):
    await log.stop()
    with pytest.raises(Unavailable):
        await log.append([record()], Acks.LEADER)


# compaction


async def test_a_compact_topic_keeps_the_newest_record_of_each_key(log):
    """R14: the newest snapshots are there however long ago they were written."""
    await log.ensure([TopicSpec("kept", 1, 3600, MIB, compact=True)])
    for number in range(6):
        await log.append([NewRecord("kept", 0, b"%d" % number, key=b"%d" % (number % 2))], Acks.ALL)
    connection = await log.connect("kept")
    extent = (await connection.extents())[0]
    assert extent.end == 6
    found, at = [], extent.start
    while at < extent.end:
        records = (await connection.fetch({0: Want(at, 100)}, 5.0))[0]
        found += records
        at = records[-1].offset + 1
    assert [(r.offset, r.value) for r in found][-2:] == [(4, b"4"), (5, b"5")]
    await connection.close()
