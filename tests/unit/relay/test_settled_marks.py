"""Where partitions go on, and the snapshots for a queue that forgets, on virtual time (R14, R2, R3)."""

import asyncio
import zlib
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded
from support.peers import settle, standing

from forebay.actors.relay.messages import Locate, Located, Term, TermRefused
from forebay.actors.relay.settled_marks import SNAPSHOT_INTERVAL, SNAPSHOT_REFRESH, SettledMarks
from forebay.actors.relay.snapshots import (
    KEYS,
    MAX_RECORD,
    Damaged,
    Snapshot,
    decode,
    encode,
    read_newest,
    snapshots_spec,
)
from forebay.backends.checkpoints import Checkpoint
from forebay.backends.errors import BackendError, Unavailable
from forebay.backends.ports import Acks, Done, Lease, NewRecord, QueuedJob, Token, TopicSpec
from forebay.backends.settled import SPAN, Settled
from forebay.jobs.lanes import retry_mark, settled_topic
from forebay.scenarios.loop import run as run_virtual
from forebay.scenarios.loop import running_loop

TOKEN = Token(0, 5)
TOPIC = settled_topic("jobs")
SPEC = TopicSpec("jobs", 3, 1e9, 1 << 20)


def run(main):
    run_virtual(main, horizon=10_000.0)


@asynccontextmanager
async def marking(planted=TOKEN, snapshots=(), spec=SPEC, before=None):
    """The role on a queue that has just been planted, and that `before` was done to, and a log that holds these snapshots of
    partition 0.
    """
    embedded = InlineEmbedded(None, running_loop().clock, Random(1))
    await embedded.start()
    await embedded.log.ensure([SPEC, *([snapshots_spec(spec)] if spec else [])])
    for number, value in enumerate(snapshots):
        await embedded.log.append([NewRecord(TOPIC, 0, value, key=KEYS[number % 2])], Acks.LEADER)
    queue, log = Flaky(embedded.queue(), Faults(Random(2))), Flaky(embedded.log, Faults(Random(3)))
    epoch = (await queue.port.plant("jobs", planted)).epoch if planted else "none"
    term = Term("jobs", 3, TOKEN, "session", epoch)
    if before:
        await before(SimpleNamespace(queue=queue, epoch=epoch))
    make = lambda: SettledMarks(term=term, queue=queue, log=log, topic_lock="/lock")  # noqa: E731
    async with standing(make, "a", "b", "lock") as stand:
        stand.queue, stand.log, stand.epoch = queue, log, epoch
        yield stand
    await embedded.stop()


async def write(stand, count, partition=0, start=0):
    jobs = [QueuedJob(start + n, f"{partition}-{start + n}", "t", b"") for n in range(count)]
    return await stand.queue.port.write("jobs", TOKEN, stand.epoch, partition, start, start + count, jobs)


async def end(stand, *ids):
    """Claim all that is pending and end these."""
    claims = await stand.queue.port.claim("jobs", Lease("w", round(running_loop().time() * 1000) + 1, 1e6), 1000)
    await stand.queue.port.end("jobs", "w", [Done(c.id, c.epoch) for c in claims if c.id in ids])


async def locate(stand, partition=0, peer="a"):
    stand.subject.tell(Locate(partition, stand.ref(peer)))
    return (await stand.told[peer].get()).next


async def written(stand):
    """How many snapshots of each partition were ever written."""
    return {p: extent.end for p, extent in (await (await stand.log.port.connect(TOPIC)).extents()).items()}


async def newest(stand):
    return dict((await read_newest(stand.log.port, "jobs", lambda record, error: None)).settled)


async def interval(times=1):
    await asyncio.sleep(times * SNAPSHOT_INTERVAL + 0.1)


def snapshot(**settled):
    return encode(Snapshot(Token(0, 1), {int(name[1:]): one for name, one in settled.items()}))


# where to go on


def test_a_partition_is_located_where_its_mark_stands():
    async def main():
        async with marking(snapshots=[snapshot(p0=Settled(3))]) as stand:
            await write(stand, 5, start=7)
            assert [await locate(stand, partition) for partition in (0, 1)] == [12, None]

    run(main)


def test_a_partition_without_a_mark_is_restored_from_the_newest_snapshot():
    async def main():
        older, newer = snapshot(p0=Settled(3), p1=Settled(8)), snapshot(p0=Settled(9, b"\x10\x80"))
        async with marking(snapshots=[older, newer]) as stand:
            assert [await locate(stand, partition) for partition in (0, 1)] == [9, None]
            assert stand.notes("restored") == [{"partition": 0, "next": 9, "ended_above": 2}]
            assert (await write(stand, 10, start=9)).settled == 2
            assert await locate(stand) == 19

    run(main)


def test_without_a_topic_of_snapshots_a_partition_begins_at_the_logs_oldest():
    async def main():
        async with marking(spec=None) as stand:
            assert await locate(stand) is None

    run(main)


def test_a_damaged_snapshot_is_noted_and_the_one_before_is_taken():
    async def main():
        good = snapshot(p0=Settled(9))
        async with marking(snapshots=[good, good[:-1] + b"x"]) as stand:
            assert await locate(stand) == 9
            (note,) = stand.notes("snapshot_damaged")
            assert (note["topic"], note["partition"], note["offset"]) == (TOPIC, 0, 1)
            assert "checksum" in note["why"]

    run(main)


def test_if_no_snapshot_can_be_read_the_partition_begins_at_the_logs_oldest():
    async def main():
        async with marking(snapshots=[b"", b"bad!"]) as stand:
            assert await locate(stand) is None
            assert [note["offset"] for note in stand.notes("snapshot_damaged")] == [1, 0]

    run(main)


def test_the_snapshots_are_waited_for_and_meanwhile_marks_that_stand_are_told():
    async def main():
        async with marking(snapshots=[snapshot(p0=Settled(9))]) as stand:
            await write(stand, 5, partition=1)
            stand.log.faults.down = True
            for partition, peer in ((1, "b"), (0, "a")):
                stand.subject.tell(Locate(partition, stand.ref(peer)))
            assert await stand.told["b"].get() == Located(5)
            await asyncio.sleep(600)
            assert stand.told["a"].empty()
            assert stand.failures() == []
            stand.log.faults.down = False
            assert await stand.told["a"].get() == Located(9)
            assert len(stand.notes("log_away")) == len(stand.notes("log_back"))

    run(main)


def test_a_silent_log_is_given_up_and_asked_again():
    async def main():
        async with marking(snapshots=[snapshot(p0=Settled(9))]) as stand:
            stand.log.faults.silent = True
            stand.subject.tell(Locate(0, stand.ref("a")))
            await asyncio.sleep(60)
            assert stand.log.calls["connect"] > 2
            stand.log.faults.silent = False
            assert await stand.told["a"].get() == Located(9)

    run(main)


@pytest.mark.parametrize("away", ["down", "does not tell"])
def test_a_queue_that_does_not_tell_its_marks_is_waited_for(away):
    async def main():
        async with marking() as stand:
            await write(stand, 5)

            async def refuse(*_):
                raise BackendError("no")

            async def ask(*words):
                return await told(*words)

            marks, stand.queue.marks = stand.queue.marks, ask
            told = marks if away == "down" else refuse
            stand.queue.faults.down = away == "down"
            stand.subject.tell(Locate(0, stand.ref("a")))
            await asyncio.sleep(60)
            assert stand.told["a"].empty()
            assert stand.failures() == []
            stand.queue.faults.down = False
            told = marks
            assert await stand.told["a"].get() == Located(5)

    run(main)


def test_a_restoring_whose_answer_was_lost_is_repeated():
    async def main():
        async with marking(snapshots=[snapshot(p0=Settled(9))]) as stand:
            stand.queue.faults.lose = 0.7
            assert await locate(stand) == 9
            assert stand.queue.faults.bites

    run(main)


@pytest.mark.parametrize(("planted", "forgot"), [(Token(0, 6), False), (None, True)])
def test_a_queue_that_refuses_the_term_is_told_to_the_lock_and_nobody_is_answered(planted, forgot):
    async def main():
        async with marking(planted=planted) as stand:
            stand.subject.tell(Locate(0, stand.ref("a")))
            told = await stand.told["lock"].get()
            assert isinstance(told, TermRefused)
            assert (told.token, told.forgot) == (TOKEN, forgot)
            await interval()
            assert (await stand.told["lock"].get()).forgot is forgot  # by the look for a snapshot, with no job in sight
            assert stand.told["a"].empty()

    run(main)


# snapshots


def test_what_has_ended_is_in_the_log_an_interval_later():
    async def main():
        async with marking() as stand:
            await write(stand, 20)
            await write(stand, 4, partition=2)
            await end(stand, "0-0", "0-7", "2-0", "2-1", "2-2", "2-3")
            await interval()
            assert await newest(stand) == {0: Settled(1, b"\x01"), 2: Settled(4)}

    run(main)


def test_a_term_begins_with_a_snapshot_of_what_had_ended_before_it():
    """Terms that last less than an interval would never write any."""

    async def before(stand):
        await write(stand, 3)
        await end(stand, "0-0", "0-2")

    async def main():
        async with marking(before=before) as stand:
            await settle()
            assert await newest(stand) == {0: Settled(1, b"\x20")}

    run(main)


def test_what_a_lane_had_ended_stays_known_until_it_is_located():
    """A queue that forgets again meanwhile would run it again."""

    async def main():
        ended = {"p0": Settled(9), f"p{retry_mark(0)}": Settled(4)}
        async with marking(snapshots=[snapshot(**ended)]) as stand:
            assert await locate(stand) == 9
            await interval()
            assert await written(stand) == {0: 2, 1: 0, 2: 0}
            assert await newest(stand) == {0: Settled(9), retry_mark(0): Settled(4)}

    run(main)


def test_the_first_snapshot_of_a_term_keeps_what_an_earlier_one_knew_of_a_lane_that_the_queue_has_lost():
    """A failover may lose one lane alone; nobody has asked for it yet."""

    async def before(stand):
        await write(stand, 3)
        await end(stand, "0-0")

    async def main():
        ended = {"p0": Settled(0), f"p{retry_mark(0)}": Settled(4)}
        async with marking(snapshots=[snapshot(**ended)], before=before) as stand:
            await settle()
            assert await newest(stand) == {0: Settled(1), retry_mark(0): Settled(4)}

    run(main)


def test_only_what_has_changed_is_written_again_and_all_now_and_then():
    async def main():
        async with marking() as stand:
            await write(stand, 3)
            await write(stand, 3, partition=1)
            await interval(20)
            assert await written(stand) == {0: 1, 1: 1, 2: 0}
            await end(stand, "1-1")
            await interval(20)
            assert await written(stand) == {0: 1, 1: 2, 2: 0}
            await asyncio.sleep(SNAPSHOT_REFRESH)
            assert await written(stand) == {0: 2, 1: 3, 2: 0}

    run(main)


def test_both_lanes_of_a_partition_are_in_one_snapshot():
    async def main():
        async with marking() as stand:
            await write(stand, 3, partition=1)
            await interval()
            await write(stand, 2, partition=retry_mark(1))
            await interval()
            assert await written(stand) == {0: 0, 1: 2, 2: 0}
            assert await newest(stand) == {1: Settled(0), retry_mark(1): Settled(0)}

    run(main)


def test_while_the_log_is_away_snapshots_wait_and_the_newest_state_follows():
    async def main():
        async with marking() as stand:
            await write(stand, 3)
            stand.log.faults.down = True
            await interval(3)
            await end(stand, "0-0", "0-1")
            await interval(3)
            assert stand.failures() == []
            assert await written(stand) == {0: 0, 1: 0, 2: 0}
            stand.log.faults.down = False
            await interval(2)
            assert await newest(stand) == {0: Settled(2)}

    run(main)


def with_acks(stand, *, replicas):
    """Note the acks of every append from now on; those of all replicas are refused while `replicas` says that they lag."""
    append, seen = stand.log.append, []

    async def noted(records, acks):
        seen.append(acks)
        if acks is Acks.ALL and replicas["lag"]:
            raise Unavailable("not enough replicas")
        return await append(records, acks)

    stand.log.append = noted
    return seen


def test_a_snapshot_is_written_with_all_the_acks_that_the_log_offers():
    """Nobody can read what a replica in sync lacks, and it goes with its leader: the next may be 10 minutes off."""

    async def main():
        async with marking() as stand:
            seen = with_acks(stand, replicas={"lag": False})
            await write(stand, 3)
            await interval(3)
            assert seen == [Acks.ALL]

    run(main)


def test_while_replicas_lag_the_leader_has_the_snapshot_alone_and_it_is_written_again_until_all_have_it():
    async def main():
        async with marking() as stand:
            replicas = {"lag": True}
            seen = with_acks(stand, replicas=replicas)
            await write(stand, 3)
            await end(stand, "0-0", "0-1")
            await interval(2)
            assert seen == [Acks.ALL, Acks.LEADER] * 2
            assert await newest(stand) == {0: Settled(2)}
            replicas["lag"] = False
            await interval(3)
            assert seen[4:] == [Acks.ALL]
            assert await newest(stand) == {0: Settled(2)}
            assert stand.notes("log_away") == []

    run(main)


def test_a_log_that_refuses_snapshots_is_noted_and_does_not_stop_the_relay():
    async def main():
        async with marking(spec=None) as stand:
            await write(stand, 3)
            await interval(2)
            assert TOPIC in stand.notes("snapshot_refused")[0]["why"]
            assert await locate(stand) == 3
            assert stand.failures() == []

    run(main)


def test_a_snapshot_that_leaves_ends_out_is_noted_once():
    async def main():
        async with marking() as stand:

            async def settled(*_):
                return {0: Settled.of(0, b"\x7f" + b"\xff" * SPAN)}

            stand.queue.settled = settled
            await interval(3)
            assert stand.notes("settled_cut") == [{"partition": 0, "low": 0, "end": SPAN}]
            assert await newest(stand) == await settled()

    run(main)


def test_looking_is_bounded_to_one_call_an_interval():
    async def main():
        async with marking() as stand:
            await settle()
            await interval(10)
            assert stand.queue.calls["settled"] == 11  # one at the start
            assert stand.log.calls.get("append", 0) == 0

    run(main)


# the record

SETTLED = st.builds(Settled.of, st.integers(0, 2**60), st.binary(max_size=30))
POINTS = st.lists(st.builds(Checkpoint, *3 * [st.integers(0, 2**40)]), min_size=1, max_size=40).map(tuple)
TOLD = st.dictionaries(st.integers(0, 9), st.tuples(SETTLED, st.none() | POINTS))
SNAPSHOTS = st.builds(
    lambda token, told: Snapshot(
        token, {n: one for n, (one, _) in told.items()}, {n: points for n, (_, points) in told.items() if points}
    ),
    st.builds(Token, st.integers(0, 9), st.integers(0, 2**60)),
    TOLD,
)


@given(SNAPSHOTS)
def test_a_snapshot_comes_back_from_its_record(one):
    assert decode(encode(one)) == one


@given(SNAPSHOTS, st.data())
def test_a_record_with_any_bit_changed_or_cut_off_is_damaged(one, data):
    value = encode(one)
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    flipped = bytes(byte ^ (1 << bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(value))
    for damaged in (flipped, value[: bit // 8]):
        with pytest.raises(Damaged):
            decode(damaged)


def test_the_longest_snapshot_fits_into_a_record():
    full = Settled.of(2**60, b"\x7f" + b"\xff" * SPAN)
    points = [Checkpoint(2**60 + n, 2**32 - 1, 2**60) for n in range(500)]
    numbers = (9999, retry_mark(9999))
    longest = Snapshot(Token(2**60, 2**60), dict.fromkeys(numbers, full), dict.fromkeys(numbers, points))
    assert len(encode(longest)) < MAX_RECORD - 1000
    assert decode(encode(longest)).checkpoints[9999] == tuple(points[-40:])


def test_a_snapshot_of_the_first_version_which_has_no_checkpoints_is_read():
    body = msgspec.msgpack.encode([1, 3, 4, [[0, 5, b"\x03"], [7, 9, b""]]])
    told = Snapshot(Token(3, 4), {0: Settled(5, b"\x03"), 7: Settled(9)})
    assert decode(zlib.crc32(body).to_bytes(4) + body) == told


def test_an_end_that_no_checkpoint_reaches_is_not_told_where_there_are_checkpoints():
    async def main():
        async with marking() as stand:
            jobs = [QueuedJob(n, f"0-{n}", "t", b"") for n in range(20)]
            point = Checkpoint(9, 1, 1)
            await stand.queue.port.write("jobs", TOKEN, stand.epoch, 0, 0, 10, jobs[:10], point)
            await stand.queue.port.write("jobs", TOKEN, stand.epoch, 0, 10, 20, jobs[10:])
            await end(stand, *(f"0-{n}" for n in (3, 8, 12)))
            await interval()
            known = await read_newest(stand.log.port, "jobs", lambda record, error: None)
            assert known.checkpoints == {0: (point,)}
            assert [n for n in range(20) if known.settled[0].has_ended(n)] == [3, 8]

    run(main)
