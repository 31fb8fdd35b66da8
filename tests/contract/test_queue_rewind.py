"""What stood where the relay went past, and going back when the log was cut: the `Queue` port (R4, F3)."""

from itertools import pairwise
from random import Random

import pytest
from support.adapters import QUEUES
from support.relay import Term, job

from forebay.backends.checkpoints import Checkpoint, extended
from forebay.backends.errors import FenceMissing, StaleToken
from forebay.backends.ports import Done, Lease, Mark, Token
from forebay.backends.settled import Settled

ADAPTERS = QUEUES
PIECE = 65536  # offsets of one piece of Redis' bitmap


def stood(offset, content=7):
    return Checkpoint(offset, content, 1_700_000_000_000 + offset)


async def passed(term, to, partition=0):
    """Move the mark over a range, with what stood at its end."""
    start = term.next.get(partition, 0)
    await term.queue.write("jobs", term.token, term.epoch, partition, start, to, [], stood(to - 1))
    term.next[partition] = to


async def rewind(term, to, partition=0):
    await term.queue.rewind("jobs", term.token, term.epoch, partition, to)
    term.next[partition] = min(to, term.next.get(partition, 0))


async def claimed(term, worker="w"):
    return {c.id: c for c in await term.queue.claim("jobs", Lease(worker, 1, 60), 1000)}


async def finish(term, *claims, worker="w"):
    assert all(await term.queue.end("jobs", worker, [Done(c.id, c.epoch) for c in claims]))


async def settled(term, partition=0):
    return (await term.queue.settled("jobs", term.token))[partition]


# checkpoints


async def test_a_mark_carries_what_stood_before_it_and_a_new_term_learns_it(term, queue, site):
    await passed(term, 10)
    assert await term.mark() == Mark(10, 10, (stood(9),))
    again = await site.reopen()
    planted = await again.plant("jobs", Token(2, 1))
    assert planted.marks == {0: Mark(10, 10, (stood(9),))}


async def test_a_range_without_records_leaves_the_checkpoints_as_they_are(term):
    await passed(term, 10)
    await term.write(to=50)
    assert (await term.mark()).checkpoints == (stood(9),)


async def test_each_partition_has_its_own(term):
    await passed(term, 10)
    await passed(term, 20, partition=3)
    assert (await term.mark()).checkpoints == (stood(9),)
    assert (await term.mark(3)).checkpoints == (stood(19),)


async def test_older_checkpoints_stay_at_distances_that_about_double(term):
    random = Random(1)
    expected = ()
    for _ in range(150):
        to = term.next.get(0, 0) + random.choice((1, 2, 7, 500, 100_000))
        await passed(term, to)
        expected = extended(expected, stood(to - 1))
    assert (await term.mark()).checkpoints == expected
    distances = [to - 1 - one.offset for one in expected]
    assert all(far <= 2 * near + 100_000 for far, near in pairwise(distances))
    assert expected[0].offset < 100_000
    assert len(expected) < 2 * to.bit_length()


# going back


async def test_a_rewind_moves_the_mark_back_and_forgets_what_stood_above(term):
    for to in (10, 14, 30, 31):
        await passed(term, to)
    await rewind(term, 14)
    assert await term.mark() == Mark(14, 14, (stood(9), stood(13)))
    await passed(term, 15)
    assert (await term.mark()).checkpoints[-1] == stood(14)


async def test_a_mark_at_or_below_the_place_stays(term):
    await passed(term, 10)
    await rewind(term, 10)
    await rewind(term, 11)
    await rewind(term, 5, partition=1)
    assert await term.queue.marks("jobs", term.token) == {0: Mark(10, 10, (stood(9),))}


async def test_only_the_holder_of_the_fence_in_the_same_memory_may_go_back(term, queue):
    await passed(term, 10)
    with pytest.raises(FenceMissing):
        await queue.rewind("jobs", term.token, "another", 0, 5)
    await queue.plant("jobs", Token(2, 1))
    with pytest.raises(StaleToken):
        await rewind(term, 5)
    with pytest.raises(FenceMissing):
        await queue.rewind("jobs", Token(3, 1), term.epoch, 0, 5)
    assert (await queue.marks("jobs", Token(2, 1)))[0].next == 10


async def test_what_had_ended_above_is_void_and_below_it_stays(term):
    await term.write(*(job(f"j{n}") for n in range(20)))
    claims = await claimed(term)
    await finish(term, *(claims[f"j{n}"] for n in (3, 9, 11, 12, 19)))
    await rewind(term, 11)
    assert await settled(term) == Settled(0, b"\x10\x40")
    await finish(term, *(claims[f"j{n}"] for n in (0, 1, 2, 4, 5, 6, 7, 8, 10)))
    assert await term.mark() == Mark(11, 11)


async def test_a_low_mark_above_the_place_comes_back_to_it(term):
    await passed(term, 20)
    await rewind(term, 11)
    await term.write(job("a"))
    assert await settled(term) == Settled(11)


@pytest.mark.parametrize("to", [5, 8, PIECE - 1, PIECE, PIECE + 3, 3 * PIECE])
async def test_the_void_reaches_over_any_distance(term, to):
    await term.write(job("first"), to=4 * PIECE)
    assert (await settled(term)).has_ended(4 * PIECE - 1)
    await rewind(term, to)
    await term.write(job("again"), to=4 * PIECE)
    found = await settled(term)
    assert found.low == 0
    assert not found.has_ended(to)
    assert found.has_ended(to + 1)
    assert found.has_ended(to - 1)


async def test_a_job_from_above_stays_and_its_end_says_nothing_of_the_record_that_stands_there_now(term):
    await term.write(*(job(f"old{n}") for n in range(4)))
    claims = await claimed(term)
    await rewind(term, 2)
    await term.write(job("new2"), job("new3"))
    await finish(term, *claims.values())
    assert await term.mark() == Mark(4, 2)
    more = await claimed(term, "v")
    assert sorted(more) == ["new2", "new3"]
    await finish(term, *more.values(), worker="v")
    assert await term.mark() == Mark(4, 4)


async def test_a_job_that_comes_again_after_a_rewind_holds_its_place_until_it_ends(term):
    await term.write(*(job(f"j{n}") for n in range(4)))
    await rewind(term, 1)
    again = await term.write(job("other"), job("j1"), job("j2"), job("j3"))
    assert (again.queued, again.redelivered) == (1, 3)
    claims = await claimed(term)
    await finish(term, claims["j0"], claims["other"], claims["j2"])
    assert await term.mark() == Mark(5, 2)
    await finish(term, claims["j1"], claims["j3"])
    assert await term.mark() == Mark(5, 5)


async def test_holds_that_one_rewind_leaves_are_kept_by_the_next(term):
    await term.write(*(job(f"a{n}") for n in range(10)))
    await rewind(term, 2)
    await term.write(*(job(f"b{n}") for n in range(8)))
    await rewind(term, 6)
    await term.write(*(job(f"c{n}") for n in range(4)))
    claims = await claimed(term)
    assert len(claims) == 22
    ends = [("a0", 1), ("b0", 1), ("a9", 1), ("b7", 1), ("a1", 3), ("b3", 3), ("b1", 4), ("b2", 6)]
    for id_, low in ends:
        await finish(term, claims.pop(id_))
        assert await term.mark() == Mark(10, low), id_
    await finish(term, *claims.values())
    assert await term.mark() == Mark(10, 10)


async def test_what_an_earlier_memory_knew_from_there_on_is_void(term, queue):
    bits = Settled(4, b"\x07\xff\xff")  # 5, 6, 7 ... 23 have ended
    await queue.restore("jobs", term.token, term.epoch, {0: bits})
    term.next = {0: 4}
    assert (await term.write(*(job(f"j{n}") for n in range(4, 12)))).settled == 7
    await rewind(term, 10)
    written = await term.write(*(job(f"k{n}") for n in range(10, 24)))
    assert (written.settled, written.queued) == (0, 14)


# what was restored, beyond the mark


async def brought_back(term, bits=b"\x7f\xff\xff", *offsets):
    """A mark at 0; 1 to 23 had ended in an earlier memory, by checkpoints of these offsets."""
    points = {0: [stood(offset) for offset in offsets]}
    await term.queue.restore("jobs", term.token, term.epoch, {0: Settled(0, bits)}, points)
    term.next = {0: 0}


async def test_what_is_restored_comes_with_its_checkpoints_also_those_beyond_the_mark(term, site):
    await brought_back(term, b"\x7f\xff\xff", 3, 15, 23)
    assert await term.mark() == Mark(0, 0, (stood(3), stood(15), stood(23)))
    again = await Term(await site.reopen(), token=Token(1, 2)).begin()
    assert (await again.mark()).checkpoints == (stood(3), stood(15), stood(23))


async def test_those_beyond_the_mark_stay_until_the_relay_has_passed_them(term):
    await brought_back(term, b"\x7f\xff\xff", 3, 15, 23)
    await passed(term, 4)
    assert (await term.mark()).checkpoints == (stood(3), stood(15), stood(23))
    await passed(term, 10)
    assert (await term.mark()).checkpoints == (stood(3), stood(9), stood(15), stood(23))
    await passed(term, 24)
    assert (await term.mark()).checkpoints == (*extended([stood(3), stood(9), stood(15)], stood(23)),)


async def test_a_partition_that_has_a_mark_keeps_its_own_checkpoints(term):
    await passed(term, 5)
    await brought_back(term, b"\x7f\xff\xff", 3, 15, 23)
    assert await term.mark() == Mark(5, 5, (stood(4),))


async def test_what_had_ended_beyond_a_place_above_the_mark_is_void_and_below_it_stays(term):
    await brought_back(term, b"\x7f\xff\xff", 3, 15, 23)
    await rewind(term, 10)
    assert await term.mark() == Mark(0, 0, (stood(3),))
    assert await settled(term) == Settled(0, b"\x7f\xc0")
    written = await term.write(*(job(f"k{n}") for n in range(24)))
    assert (written.settled, written.queued) == (9, 15)


async def test_a_low_mark_that_has_passed_the_mark_goes_back_to_that_place(term):
    await brought_back(term, b"\x7f\xff\xff", 3, 15, 23)
    await term.write(job("a"))
    await finish(term, *(await claimed(term)).values())
    assert await settled(term) == Settled(24)
    await rewind(term, 10)
    term.next = {0: 1}
    assert await settled(term) == Settled(10)
    written = await term.write(*(job(f"k{n}") for n in range(1, 24)))
    assert (written.settled, written.queued) == (9, 14)


async def test_going_back_where_nothing_lies_beyond_changes_nothing(term):
    await passed(term, 5)
    await rewind(term, 5)
    await term.queue.rewind("jobs", term.token, term.epoch, 3, 7)
    assert await term.queue.marks("jobs", term.token) == {0: Mark(5, 5, (stood(4),))}
