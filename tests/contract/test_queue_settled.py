"""Which offsets have ended, and going on from there in a queue that forgot: the `Queue` port, sentence by sentence (R14)."""

from random import Random

import pytest
from support.adapters import QUEUES
from support.relay import Term, job

from forebay.backends.errors import FenceMissing, StaleToken
from forebay.backends.ports import Dead, Done, Lease, Mark, ParkedRecord, QueuedJob, Token
from forebay.backends.settled import Settled

ADAPTERS = QUEUES
PIECE = 65536  # offsets of one piece of Redis' bitmap


async def end(term, *ids, kind=Done, sequence=1):
    """Claim everything and end the jobs named."""
    claims = {c.id: c for c in await term.queue.claim("jobs", Lease(f"w{sequence}", sequence, 30), 1000)}
    more = ("error",) if kind is Dead else ()
    ended = await term.queue.end("jobs", f"w{sequence}", [kind(id_, claims[id_].epoch, *more) for id_ in ids])
    assert all(ended)


async def settled(term, partition=0):
    return (await term.queue.settled("jobs", term.token))[partition]


def bitmap(low, offsets):
    """The settled offsets below `low` and those named."""
    bits = bytearray(max(offsets, default=low) // 8 - low // 8 + 1)
    for offset in offsets:
        bits[offset // 8 - low // 8] |= 0x80 >> offset % 8
    return Settled.of(low, bytes(bits))


def jobs(start, to):
    return [QueuedJob(offset, f"j{offset}", "test", b"") for offset in range(start, to)]


async def restored(queue, one, partition=0, token=None):
    """A term in a queue that forgot, with what is known of one partition."""
    term = await Term(queue, token=token or Token(1, 1)).begin()
    await queue.restore("jobs", term.token, term.epoch, {partition: one})
    term.next = {p: mark.next for p, mark in (await queue.marks("jobs", term.token)).items()}
    return term


# what has ended


async def test_nothing_is_told_of_a_partition_never_written(term):
    assert await term.queue.settled("jobs", term.token) == {}


async def test_what_has_ended_is_told_offset_by_offset(term):
    await term.write(*(job(f"j{n}") for n in range(20)))
    assert await settled(term) == Settled(0)
    await end(term, "j3", "j9", "j19")
    assert await settled(term) == Settled(0, b"\x10\x40\x10")
    assert await term.mark() == Mark(20, 0)


async def test_the_low_mark_moves_up_over_what_has_ended(term):
    await term.write(*(job(f"j{n}") for n in range(20)))
    await end(term, *(f"j{n}" for n in (0, 1, 2, 4, 10)))
    assert await settled(term) == Settled(3, b"\x08\x20")


async def test_all_have_ended(term):
    await term.write(*(job(f"j{n}") for n in range(11)))
    await end(term, *(f"j{n}" for n in range(11)))
    assert await settled(term) == Settled(11)


async def test_dropped_ones_and_gaps_have_ended_and_dead_and_parked_ones_that_are_written(term):
    await term.write(
        job("a", dedup="d"), job("b", dedup="d"), lambda offset: ParkedRecord(offset, "bad", b""), job("c"), to=8
    )
    assert await settled(term) == Settled(0, b"\x4f")
    await end(term, "c", kind=Dead)
    assert await settled(term) == Settled(0, b"\x4f")
    await term.queue.written("jobs", term.token, await term.queue.unwritten("jobs", term.token, 9))
    assert await settled(term) == Settled(0, b"\x7f")


async def test_partitions_begin_anywhere_and_are_told_apart(term):
    term.next = {0: 5, 7: PIECE * 3 - 2}
    await term.write(job("a"), job("b"))
    await term.write(*(job(f"x{n}") for n in range(4)), partition=7)
    await end(term, "b", "x0", "x2", "x3")
    assert await term.queue.settled("jobs", term.token) == {
        0: bitmap(5, [6]),
        7: bitmap(PIECE * 3 - 1, [PIECE * 3, PIECE * 3 + 1]),
    }


async def test_a_long_way_over_several_pieces_is_told_whole(term):
    await term.write(job("first"), to=PIECE * 2 + 100)
    await term.write(job("last"))
    found = await settled(term)
    assert found.low == 0
    assert found == bitmap(0, range(1, PIECE * 2 + 100))
    await end(term, "first")
    assert await settled(term) == Settled(PIECE * 2 + 100)


async def test_settled_offsets_are_for_the_holder_of_the_fence(term, queue):
    with pytest.raises(FenceMissing):
        await queue.settled("other", term.token)
    await queue.plant("jobs", Token(1, 2))
    with pytest.raises(StaleToken):
        await queue.settled("jobs", term.token)


# going on from there


async def test_a_queue_that_forgot_goes_on_from_the_low_mark_and_skips_what_has_ended(queue):
    term = await restored(queue, bitmap(13, [14, 17, 30]))
    assert await queue.marks("jobs", term.token) == {0: Mark(13, 13)}
    written = await queue.write("jobs", term.token, term.epoch, 0, 13, 20, jobs(13, 20))
    assert (written.next, written.queued, written.settled) == (20, 5, 2)
    assert {c.id for c in await queue.claim("jobs", Lease("w", 1, 30), 100)} == {"j13", "j15", "j16", "j18", "j19"}
    assert await settled(term) == bitmap(13, [14, 17, 30])


async def test_parked_records_that_were_settled_are_skipped_too(queue):
    term = await restored(queue, bitmap(0, [1]))
    written = await term.write(job("a"), lambda offset: ParkedRecord(offset, "bad", b""))
    assert (written.queued, written.parked, written.settled) == (1, 0, 1)


async def test_the_marks_come_together_again_when_all_has_ended(queue):
    term = await restored(queue, bitmap(PIECE - 3, [PIECE - 2, PIECE + 1, PIECE + 9]))
    await queue.write("jobs", term.token, term.epoch, 0, PIECE - 3, PIECE + 5, jobs(PIECE - 3, PIECE + 5))
    claims = await queue.claim("jobs", Lease("w", 1, 30), 100)
    await queue.end("jobs", "w", [Done(c.id, c.epoch) for c in claims])
    assert await queue.marks("jobs", term.token) == {0: Mark(PIECE + 5, PIECE + 5)}
    assert await settled(term) == bitmap(PIECE + 5, [PIECE + 9])
    last = await queue.write("jobs", term.token, term.epoch, 0, PIECE + 5, PIECE + 11, jobs(PIECE + 5, PIECE + 11))
    assert (last.queued, last.settled) == (5, 1)
    assert await queue.marks("jobs", term.token) == {0: Mark(PIECE + 11, PIECE + 5)}


async def test_the_low_mark_may_pass_the_mark_over_what_had_ended(queue):
    term = await restored(queue, bitmap(0, range(1, 100)))
    await term.write(job("a"))
    await end(term, "a")
    assert await settled(term) == Settled(100)
    assert await queue.marks("jobs", term.token) == {0: Mark(1, 1)}
    written = await queue.write("jobs", term.token, term.epoch, 0, 1, 101, jobs(1, 101))
    assert (written.queued, written.settled) == (1, 99)
    assert await queue.marks("jobs", term.token) == {0: Mark(101, 100)}


async def test_what_was_restored_is_forgotten_when_the_mark_has_passed_it(queue):
    term = await restored(queue, bitmap(0, [1]))
    assert (await term.write(*(job(f"j{n}") for n in range(64)))).settled == 1
    again = await term.write(*(job(f"k{n}") for n in range(8)))
    assert (again.queued, again.settled) == (8, 0)


async def test_a_partition_that_has_a_mark_is_left_as_it_is(term, queue):
    await term.write(job("a"))
    await queue.restore("jobs", term.token, term.epoch, {0: bitmap(50, [60]), 1: Settled(9)})
    await queue.restore("jobs", term.token, term.epoch, {1: Settled(70)})
    assert await queue.marks("jobs", term.token) == {0: Mark(1, 0), 1: Mark(9, 9)}
    assert await settled(term) == Settled(0)


async def test_what_was_restored_survives_a_restart(queue, site):
    await restored(queue, bitmap(0, [1, 2]))
    again = await Term(await site.reopen(), token=Token(1, 2)).begin()
    assert (await again.write(job("a"), job("b"), job("c"))).settled == 2


async def test_only_the_holder_of_the_fence_may_restore(term, queue):
    with pytest.raises(FenceMissing):
        await queue.restore("jobs", term.token, term.epoch + "x", {0: Settled(5)})
    with pytest.raises(FenceMissing):
        await queue.restore("other", term.token, term.epoch, {0: Settled(5)})
    await queue.plant("jobs", Token(1, 2))
    with pytest.raises(StaleToken):
        await queue.restore("jobs", term.token, term.epoch, {0: Settled(5)})
    assert await queue.marks("jobs", Token(1, 2)) == {}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_has_ended_in_one_queue_is_skipped_by_the_next(term, queue, seed):
    """A second topic stands for the queue that forgot; what has not ended comes again, and nothing else."""
    random = Random(seed)
    start, count = random.randrange(PIECE - 50, PIECE), 120
    await queue.write("jobs", term.token, term.epoch, 0, start, start + count, jobs(start, start + count))
    gone = {f"j{start + n}" for n in range(count) if random.random() < random.choice((0.2, 0.9))}
    await end(term, *gone)
    known = await settled(term)
    assert all(known.has_ended(start + n) is (f"j{start + n}" in gone) for n in range(count))
    other = await Term(queue, "again").begin()
    await queue.restore("again", other.token, other.epoch, {0: known})
    written = await queue.write(
        "again", other.token, other.epoch, 0, known.low, start + count, jobs(known.low, start + count)
    )
    claims = await queue.claim("again", Lease("w", 1, 30), 1000)
    assert {c.id for c in claims} == {f"j{start + n}" for n in range(count)} - gone
    assert written.settled == start + count - known.low - written.queued
    assert (await queue.settled("again", other.token))[0] == known
