"""Ends other than done keep their offsets until the log has them: the `Queue` port (R14, R6, Q6)."""

import pytest
from support.adapters import QUEUES
from support.relay import Term, job

from forebay.backends.ends import End
from forebay.backends.errors import FenceMissing, StaleToken
from forebay.backends.ports import Dead, Done, JobState, Lease, ParkedRecord, QueuedJob, Token
from forebay.backends.settled import Settled

ADAPTERS = QUEUES
HEADERS = (("trace", b"\xff"),)


def bad(value=b"\xffbad", headers=HEADERS):
    return lambda offset: ParkedRecord(offset, "no job", value, headers)


async def finish(term, *ids, kind=Dead, sequence=1):
    claims = {c.id: c for c in await term.queue.claim("jobs", Lease(f"w{sequence}", sequence, 30), 1000)}
    more = ("why",) if kind is Dead else ()
    assert all(await term.queue.end("jobs", f"w{sequence}", [kind(id_, claims[id_].epoch, *more) for id_ in ids]))


async def unwritten(term, limit=500):
    return list(await term.queue.unwritten("jobs", term.token, limit))


async def ids(term, limit=500):
    return [end.id for end in await unwritten(term, limit)]


async def settled(term, partition=0):
    return (await term.queue.settled("jobs", term.token))[partition]


async def test_a_dead_job_and_a_parked_record_are_told_with_all_that_they_have_the_oldest_first(term, site):
    term.next = {0: 4, 3: 7}
    await term.write(lambda offset: QueuedJob(offset, "a", "mail", b"\x00args", headers=HEADERS))
    await finish(term, "a")
    died = site.clock.wall()
    await site.advance(1)
    await term.write(bad(), partition=3)
    assert await unwritten(term) == [
        End("dead", "a", "mail", 0, 4, 1, "why", died, b"\x00args", HEADERS),
        End("parked", "jobs/3/7", "", 3, 7, 0, "no job", site.clock.wall(), b"\xffbad", HEADERS),
    ]


async def test_they_are_not_settled_until_they_are_written(term):
    await term.write(job("a"), bad(), job("b"))
    await finish(term, "a")
    assert await settled(term) == Settled(0)
    assert (await term.mark()).settled == 0
    (first, second) = await unwritten(term)
    await term.queue.written("jobs", term.token, [second])
    assert await settled(term) == Settled(0, b"\x40" if second.kind == "parked" else b"\x80")
    await term.queue.written("jobs", term.token, [first])
    assert await settled(term) == Settled(2)
    assert await unwritten(term) == []
    views = [view.id for state in (JobState.DEAD, JobState.PARKED) for view in await term.queue.browse("jobs", state, 9)]
    assert views == ["a", "jobs/0/1"]


async def test_what_is_done_is_never_told(term):
    await term.write(job("a"))
    await finish(term, "a", kind=Done)
    assert await unwritten(term) == []
    assert await settled(term) == Settled(1)


async def test_written_may_be_repeated(term):
    await term.write(job("a"), bad())
    await finish(term, "a")
    ends = await unwritten(term)
    for _ in range(2):
        await term.queue.written("jobs", term.token, ends)
        assert await settled(term) == Settled(2)


async def test_a_dead_job_that_is_resubmitted_before_holds_its_offset_until_it_ends(term, site):
    await term.write(job("a"))
    await finish(term, "a")
    earlier = await unwritten(term)
    assert await term.queue.resubmit("jobs", ["a"]) == 1
    assert await unwritten(term) == []
    await term.queue.written("jobs", term.token, earlier)
    assert await settled(term) == Settled(0)
    await site.advance(1)
    await finish(term, "a", sequence=2)
    await term.queue.written("jobs", term.token, earlier)  # of its first death, that came late
    assert await settled(term) == Settled(0)
    assert await ids(term) == ["a"]
    await term.write_ends()
    assert await settled(term) == Settled(1)


async def test_a_job_that_dies_again_after_it_was_written_is_told_again(term):
    await term.write(job("a"))
    await finish(term, "a")
    await term.write_ends()
    assert await term.queue.retire("jobs", ["a"]) == 1
    await term.write(job("a"))
    await finish(term, "a", sequence=2)
    assert await ids(term) == ["a"]
    await term.write_ends()
    assert await unwritten(term) == []
    assert await settled(term) == Settled(2)


async def test_a_dead_job_that_was_written_holds_nothing_and_is_retired_and_not_resubmitted(term):
    await term.write(job("a"), job("b"))
    await finish(term, "a", "b")
    assert await term.queue.retire("jobs", ["a", "b"]) == 0
    await term.write_ends()
    assert await term.queue.resubmit("jobs", ["a", "b"]) == 0
    assert await term.queue.retire("jobs", ["a", "nobody"]) == 1
    assert [view.id for view in await term.queue.browse("jobs", JobState.DEAD, 9)] == ["b"]
    assert (await term.queue.counts("jobs")).dead == 1
    assert await settled(term) == Settled(2)


async def test_a_dead_job_that_came_again_is_resubmitted_and_holds_its_new_place(term):
    await term.write(job("a"))
    await finish(term, "a")
    await term.write_ends()
    assert (await term.write(job("a"))).redelivered == 1
    assert await term.queue.retire("jobs", ["a"]) == 0
    assert await term.queue.resubmit("jobs", ["a"]) == 1
    assert await settled(term) == Settled(1)
    await finish(term, "a", kind=Done, sequence=2)
    assert await settled(term) == Settled(2)


async def test_a_dead_job_whose_place_was_cut_off_holds_nothing(term):
    await term.write(job("a"))
    await finish(term, "a")
    await term.queue.rewind("jobs", term.token, term.epoch, 0, 0)
    assert await term.queue.resubmit("jobs", ["a"]) == 0
    assert await term.queue.retire("jobs", ["a"]) == 1
    assert await unwritten(term) == []


async def test_only_what_is_dead_is_retired(term):
    await term.write(job("a"), bad())
    await term.write_ends()
    assert await term.queue.retire("jobs", ["a", "jobs/0/1"]) == 0
    assert await settled(term) == Settled(0, b"\x40")


async def test_what_is_discarded_has_ended(term):
    await term.write(job("a"), bad(), job("b"))
    await finish(term, "a", "b")
    assert await term.queue.discard("jobs", ["a", "jobs/0/1"]) == 2
    assert await settled(term) == Settled(2)
    assert await ids(term) == ["b"]


async def test_a_job_that_ran_again_and_is_done_has_ended(term):
    await term.write(job("a"))
    await finish(term, "a")
    await term.queue.resubmit("jobs", ["a"])
    await finish(term, "a", kind=Done, sequence=2)
    assert await unwritten(term) == []
    assert await settled(term) == Settled(1)


async def test_a_dead_job_that_comes_again_holds_its_new_place_until_it_is_written(term):
    await term.write(job("a"))
    await finish(term, "a")
    assert (await term.write(job("a"))).redelivered == 1
    assert await settled(term) == Settled(1)
    await term.write_ends()
    assert await settled(term) == Settled(2)
    assert (await term.write(job("a"))).redelivered == 1
    assert await settled(term) == Settled(2)
    assert await ids(term) == ["a"]
    await term.write_ends()
    assert await settled(term) == Settled(3)


async def test_a_place_that_was_cut_off_is_not_settled_by_the_end_of_what_stood_there(term):
    await term.write(job("a"), bad(), job("b"))
    await finish(term, "b")
    await term.queue.rewind("jobs", term.token, term.epoch, 0, 1)
    term.next[0] = 1
    await term.write(job("c"), job("d"))
    await term.write_ends()
    assert await unwritten(term) == []
    assert await settled(term) == Settled(0)
    await finish(term, "c", "d", kind=Done, sequence=2)
    assert await settled(term) == Settled(0, b"\x60")


async def test_a_record_parked_again_at_a_place_that_was_cut_off_is_told_as_it_is_now(term, site):
    await term.write(bad(b"old"))
    earlier = await unwritten(term)
    await term.queue.rewind("jobs", term.token, term.epoch, 0, 0)
    term.next[0] = 0
    await site.advance(1)
    await term.write(bad(b"new"))
    await term.queue.written("jobs", term.token, earlier)
    assert await settled(term) == Settled(0)
    (end,) = await unwritten(term)
    assert (end.id, end.value) == ("jobs/0/0", b"new")
    (view,) = await term.queue.browse("jobs", JobState.PARKED, 9)
    assert view.args == b"new"
    await term.write_ends()
    assert await settled(term) == Settled(1)


async def test_a_limit_and_a_mebibyte_bound_what_is_told_at_a_time(term, site):
    for _ in range(3):
        await term.write(bad(b"x" * 700_000))
    assert len(await unwritten(term, 2)) == 1
    await term.write_ends()
    assert [end.offset for end in await unwritten(term)] == [1]
    await term.write_ends()
    await term.write(*(bad(b"") for _ in range(5)))
    await term.write_ends()
    await term.write(*(bad(b"") for _ in range(5)))
    assert len(await unwritten(term, 4)) == 4
    await site.advance(1)
    await term.write(bad(b"y" * 2_000_000))
    while ends := await unwritten(term):
        last = ends
        await term.write_ends()
    assert [len(end.value) for end in last] == [2_000_000]


async def test_ends_are_for_the_holder_of_the_fence(term, queue):
    await term.write(bad())
    ends = await unwritten(term)
    with pytest.raises(FenceMissing):
        await queue.unwritten("other", term.token, 1)
    with pytest.raises(FenceMissing):
        await queue.written("other", term.token, ends)
    await queue.plant("jobs", Token(1, 2))
    with pytest.raises(StaleToken):
        await unwritten(term)
    with pytest.raises(StaleToken):
        await queue.written("jobs", term.token, ends)
    assert len(await queue.unwritten("jobs", Token(1, 2), 9)) == 1


async def test_what_is_unwritten_survives_a_restart(term, site):
    await term.write(job("a"), bad())
    await finish(term, "a")
    ends = await unwritten(term)
    again = await Term(await site.reopen(), token=Token(1, 2)).begin()
    assert await unwritten(again) == ends
    await again.write_ends()
    assert await settled(again) == Settled(2)
