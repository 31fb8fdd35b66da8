"""The relay's side of the `Queue` port, sentence by sentence (R3, R4, R6, R10, Q1)."""

import pytest
from support.adapters import QUEUES
from support.opening import serves_nobody_before_it_is_open
from support.relay import Term, job

from forebay.backends.errors import FenceMissing, MarkMismatch, StaleToken
from forebay.backends.ports import (
    Counts,
    Dead,
    Done,
    JobState,
    Lease,
    Mark,
    ParkedRecord,
    QueuedJob,
    Retry,
    Token,
)
from forebay.jobs.lanes import retry_mark

ADAPTERS = QUEUES


def parked(error="bad"):
    return lambda offset: ParkedRecord(offset, error, b"\x00bytes", (("h", b"1"),))


async def claim(queue, sequence=1, limit=100, worker="w"):
    return await queue.claim("jobs", Lease(worker, sequence, 30), limit)


async def ids(queue, state):
    return [view.id for view in await queue.browse("jobs", state, 100)]


# fence


async def test_planting_names_an_epoch_that_stays(queue, site):
    first = await queue.plant("jobs", Token(1, 5))
    assert first.marks == {}
    assert (await queue.plant("jobs", Token(1, 6))).epoch == first.epoch
    assert (await (await site.reopen()).plant("jobs", Token(1, 7))).epoch == first.epoch


async def test_the_same_token_may_be_planted_again(queue):
    await queue.plant("jobs", Token(1, 5))
    await queue.plant("jobs", Token(1, 5))


@pytest.mark.parametrize("older", [Token(2, 4), Token(1, 9)], ids=["index", "generation"])
async def test_a_smaller_token_is_stale_everywhere(queue, older):
    planted = await queue.plant("jobs", Token(2, 5))
    with pytest.raises(StaleToken):
        await queue.plant("jobs", older)
    with pytest.raises(StaleToken):
        await queue.marks("jobs", older)
    with pytest.raises(StaleToken):
        await queue.write("jobs", older, planted.epoch, 0, 0, 1, [QueuedJob(0, "a", "t", b"")])
    assert (await queue.counts("jobs")).unfinished == 0


async def test_an_older_term_cannot_write_once_a_newer_one_is_planted(term):
    await term.write(job("a"))
    newer = await Term(term.queue, token=Token(1, 2)).begin()
    with pytest.raises(StaleToken):
        await term.write(job("b"))
    await newer.write(job("b"))
    assert await newer.mark() == Mark(2, 0)


async def test_without_a_fence_nothing_is_written(queue):
    with pytest.raises(FenceMissing):
        await queue.write("jobs", Token(1, 1), "epoch", 0, 0, 0, [])
    with pytest.raises(FenceMissing):
        await queue.marks("jobs", Token(1, 1))


async def test_another_epoch_is_a_missing_fence(term):
    with pytest.raises(FenceMissing):
        await term.queue.write("jobs", term.token, term.epoch + "x", 0, 0, 0, [])


async def test_a_token_that_was_never_planted_is_a_missing_fence(term):
    newer = Token(1, 2)
    with pytest.raises(FenceMissing):
        await term.queue.write("jobs", newer, term.epoch, 0, 0, 0, [])
    with pytest.raises(FenceMissing):
        await term.queue.marks("jobs", newer)


async def test_each_topic_has_its_own_fence(queue, term):
    other = await Term(queue, topic="other", token=Token(9, 9)).begin()
    await other.write(job("a"))
    await term.write(job("a"))
    assert (await queue.counts("other")).pending == (await queue.counts("jobs")).pending == 1


# marks


async def test_a_partition_never_written_accepts_any_start(term):
    term.next[4] = 1000
    await term.write(job("a"), partition=4)
    assert await term.queue.marks("jobs", term.token) == {4: Mark(1001, 1000)}


async def test_what_goes_on_where_there_is_no_mark_is_refused(term):
    """A failover can lose all that was written of a partition, and keep the fence."""
    on = ("jobs", term.token, term.epoch, 4, 1000, 1001, [QueuedJob(1000, "a", "t", b"")])
    with pytest.raises(FenceMissing):
        await term.queue.write(*on, begins=False)
    assert await term.queue.marks("jobs", term.token) == {}
    assert (await term.queue.counts("jobs")).pending == 0
    await term.queue.write(*on, begins=True)
    assert await term.queue.marks("jobs", term.token) == {4: Mark(1001, 1000)}


async def test_a_batch_must_begin_at_the_mark(term):
    await term.write(job("a"))
    for start in (0, 2):
        with pytest.raises(MarkMismatch) as error:
            await term.queue.write("jobs", term.token, term.epoch, 0, start, 5, [QueuedJob(start, "b", "t", b"")])
        assert error.value.next == 1
    assert (await term.queue.counts("jobs")).pending == 1
    assert await term.mark() == Mark(1, 0)


async def test_a_range_without_jobs_moves_the_mark(term):
    assert (await term.write(to=7)).next == 7
    assert await term.mark() == Mark(7, 7)


async def test_a_refused_batch_leaves_nothing(term):
    with pytest.raises(ValueError, match="offset"):
        await term.queue.write(
            "jobs",
            term.token,
            term.epoch,
            0,
            0,
            1,
            [QueuedJob(0, "a", "t", b""), QueuedJob(1, "b", "t", b"")],
        )
    assert await term.queue.marks("jobs", term.token) == {}
    assert (await term.queue.counts("jobs")).unfinished == 0


async def test_settled_is_the_first_offset_that_has_not_ended(term):
    await term.write(job("a"), job("b"), job("c"), parked())
    await term.write_ends()
    claims = {c.id: c for c in await claim(term.queue)}
    seen = []
    for id_ in ("b", "a", "c"):
        await term.queue.end("jobs", "w", [Done(id_, claims[id_].epoch)])
        seen.append((await term.mark()).settled)
    assert seen == [0, 2, 4]


async def test_a_retry_is_not_settled_and_a_dead_job_that_is_written_is(term):
    await term.write(job("a"))
    (first,) = await claim(term.queue)
    await term.queue.end("jobs", "w", [Retry("a", first.epoch, 0, "e")])
    assert await term.mark() == Mark(1, 0)
    (second,) = await claim(term.queue, 2)
    await term.queue.end("jobs", "w", [Dead("a", second.epoch, "e")])
    assert await term.mark() == Mark(1, 0)
    await term.write_ends()
    assert await term.mark() == Mark(1, 1)


async def test_a_retired_job_does_not_take_the_settled_mark_back(term):
    await term.write(job("a"))
    (first,) = await claim(term.queue)
    await term.queue.end("jobs", "w", [Dead("a", first.epoch, "e")])
    await term.write_ends()
    await term.queue.retire("jobs", ["a"])
    assert await term.mark() == Mark(1, 1)


async def test_a_queue_that_is_being_opened_serves_nobody_yet(queue):
    await serves_nobody_before_it_is_open(queue, lambda: queue.counts("jobs"))


async def test_marks_and_jobs_survive_a_restart(term, site):
    await term.write(job("a"), job("b"))
    again = await Term(await site.reopen(), token=Token(1, 2)).begin()
    assert again.next == {0: 2}
    assert await again.mark() == Mark(2, 0)
    assert [c.id for c in await claim(again.queue)] == ["a", "b"]


# what is written


async def test_a_job_reaches_the_worker_as_it_was_written(term):
    raw, headers = bytes(range(256)), (("trace", b"\x00\xff"), ("trace", b""))
    await term.write(job("a", args=raw, headers=headers, enqueued_at=1234))
    (got,) = await claim(term.queue)
    assert (got.topic, got.id, got.type, got.args) == ("jobs", "a", "test", raw)
    assert (got.headers, got.enqueued_at, got.attempt, got.sequence) == (headers, 1234, 1, 1)


async def test_the_same_instance_again_is_a_redelivery_and_its_hold_moves(term):
    await term.write(job("a"))
    again = await term.write(job("a", args=b"other"), job("b"), job("b"))
    assert (again.queued, again.redelivered, again.duplicates) == (1, 2, 0)
    assert (await term.queue.counts("jobs")).pending == 2
    assert (await term.mark()).settled == 1
    assert [c.args for c in await claim(term.queue)] == [b"a", b"b"]
    assert (await term.mark()).settled == 1


async def test_a_redelivery_in_another_partition_frees_the_first(term):
    await term.write(job("a"))
    await term.write(job("a"), partition=1)
    assert await term.queue.marks("jobs", term.token) == {0: Mark(1, 1), 1: Mark(1, 0)}


async def test_the_same_instance_twice_in_one_range_is_one_job_held_by_the_later_record(term):
    """R4: neither record is new to the other, though neither was there before the write."""
    written = await term.write(job("a"), job("b"), job("a"))
    assert (written.queued, written.redelivered) == (2, 1)
    assert await term.mark() == Mark(3, 1)
    claims = {c.id: c for c in await claim(term.queue)}
    assert list(claims) == ["a", "b"]
    await term.queue.end("jobs", "w", [Done("b", claims["b"].epoch)])
    assert await term.mark() == Mark(3, 2)


async def test_a_range_of_thousands_is_written_whole_and_in_order(term):
    """R4: however a backend cuts its work."""
    many = [f"{number:04}" for number in range(2500)]
    written = await term.write(*(job(id_, dedup=f"d{id_}") for id_ in many))
    assert (written.queued, written.duplicates) == (2500, 0)
    assert [c.id for c in await claim(term.queue, limit=2500)] == many
    again = await term.write(*(job(f"{id_}-again", dedup=f"d{id_}") for id_ in many))
    assert (again.queued, again.duplicates) == (2500, 0)
    assert await term.queue.counts("jobs") == Counts(0, 2500, 0, 2500, 0, 0)


async def test_a_redelivery_while_in_flight_moves_the_hold_and_nothing_else(term):
    await term.write(job("a"))
    (first,) = await claim(term.queue)
    assert (await term.write(job("a"))).redelivered == 1
    assert not await claim(term.queue, 2)
    assert (await term.mark()) == Mark(2, 1)
    assert list(await term.queue.end("jobs", "w", [Done("a", first.epoch)])) == [True]
    assert (await term.mark()) == Mark(2, 2)


async def test_a_redelivery_of_a_dead_job_leaves_it_dead(term):
    await term.write(job("a"))
    (first,) = await claim(term.queue)
    await term.queue.end("jobs", "w", [Dead("a", first.epoch, "e")])
    assert (await term.write(job("a"))).redelivered == 1
    assert await ids(term.queue, JobState.DEAD) == ["a"]
    assert await term.mark() == Mark(2, 1)
    await term.write_ends()
    assert await term.mark() == Mark(2, 2)


async def test_parked_records_are_kept_apart_with_error_and_bytes(term):
    assert (await term.write(job("a"), parked("not JSON"))).parked == 1
    (view,) = await term.queue.browse("jobs", JobState.PARKED, 10)
    assert (view.id, view.error, view.args) == ("jobs/0/1", "not JSON", b"\x00bytes")
    assert (view.partition, view.offset, view.state) == (0, 1, JobState.PARKED)
    assert await term.queue.counts("jobs") == Counts(1, 0, 0, 0, 0, 1)


async def test_the_retry_lane_has_marks_of_its_own_and_its_records_their_place_in_the_log(term):
    """R6: the same partition of both lanes; neither moves, settles or shadows the other."""
    await term.write(job("a"), parked(), partition=3)
    await term.write(job("b"), parked(), parked(), partition=retry_mark(3))
    assert await ids(term.queue, JobState.PARKED) == ["jobs.retry/3/1", "jobs.retry/3/2", "jobs/3/1"]
    assert (await term.mark(3), await term.mark(retry_mark(3))) == (Mark(2, 0), Mark(3, 0))
    await term.write_ends()
    (claimed,) = await claim(term.queue, limit=1)
    assert (claimed.id, await term.queue.end("jobs", "w", [Done("a", claimed.epoch)])) == ("a", (True,))
    assert (await term.mark(3), await term.mark(retry_mark(3))) == (Mark(2, 2), Mark(3, 0))


async def test_a_job_that_comes_back_through_the_retry_lane_is_the_same_instance(term):
    """R6: it may be there twice after a crash between its append and the mark."""
    await term.write(job("a"))
    assert (await term.write(job("a"), partition=retry_mark(0))).redelivered == 1
    assert (await term.mark(), await term.mark(retry_mark(0))) == (Mark(1, 1), Mark(1, 0))


async def test_headroom_is_a_share(queue):
    assert 0 <= await queue.headroom() <= 1


# dedup (Q1)


async def test_another_instance_is_dropped_while_the_first_is_pending(term):
    written = await term.write(job("a", dedup="d"), job("b", dedup="d"), job("c", dedup="x"))
    assert (written.queued, written.duplicates) == (2, 1)
    assert await ids(term.queue, JobState.PENDING) == ["a", "c"]
    assert await term.mark() == Mark(3, 0)


async def test_another_instance_is_dropped_while_the_first_is_delayed(term, site):
    await term.write(job("a", dedup="d", not_before=site.clock.wall() + 60_000))
    assert (await term.write(job("b", dedup="d"))).duplicates == 1


async def test_another_instance_is_dropped_while_the_first_is_retrying(term):
    await term.write(job("a", dedup="d"))
    (first,) = await claim(term.queue)
    await term.queue.end("jobs", "w", [Retry("a", first.epoch, 60, "e")])
    assert (await term.write(job("b", dedup="d"))).duplicates == 1


async def test_one_successor_is_queued_while_the_first_is_in_flight(term):
    await term.write(job("a", dedup="d"))
    await claim(term.queue)
    written = await term.write(job("b", dedup="d"), job("c", dedup="d"))
    assert (written.queued, written.duplicates) == (1, 1)
    assert not await claim(term.queue, 2)
    assert await term.queue.counts("jobs") == Counts(0, 1, 0, 1, 0, 0)
    assert (await term.queue.promote("jobs", 100)).count == 0


@pytest.mark.parametrize("end", [Done, Dead])
async def test_a_successor_runs_after_the_first_ends(term, end):
    await term.write(job("a", dedup="d"))
    (first,) = await claim(term.queue)
    await term.write(job("b", dedup="d"))
    outcome = Done("a", first.epoch) if end is Done else Dead("a", first.epoch, "e")
    await term.queue.end("jobs", "w", [outcome])
    assert [c.id for c in await claim(term.queue, 2)] == ["b"]
    await term.write_ends()
    assert await term.mark() == Mark(2, 1)


async def test_a_successor_waits_through_the_retries_of_the_first(term):
    await term.write(job("a", dedup="d"))
    (first,) = await claim(term.queue)
    await term.write(job("b", dedup="d"))
    await term.queue.end("jobs", "w", [Retry("a", first.epoch, 0, "e")])
    (again,) = await claim(term.queue, 2)
    assert again.id == "a"
    await term.queue.end("jobs", "w", [Done("a", again.epoch)])
    assert [c.id for c in await claim(term.queue, 3)] == ["b"]


async def test_a_successor_that_is_not_due_is_delayed_when_the_first_ends(term, site):
    await term.write(job("a", dedup="d"))
    (first,) = await claim(term.queue)
    await term.write(job("b", dedup="d", not_before=site.clock.wall() + 60_000))
    await term.queue.end("jobs", "w", [Done("a", first.epoch)])
    assert not await claim(term.queue, 2)
    await site.advance(60)
    assert (await term.queue.promote("jobs", 10)).count == 1
    assert [c.id for c in await claim(term.queue, 3)] == ["b"]


async def test_a_dedup_id_is_free_after_the_end(term):
    await term.write(job("a", dedup="d"), job("x", dedup="e"))
    one, two = await claim(term.queue)
    await term.queue.end("jobs", "w", [Done("a", one.epoch), Dead("x", two.epoch, "e")])
    assert (await term.write(job("b", dedup="d"), job("y", dedup="e"))).queued == 2


async def test_a_redelivered_successor_stays_the_successor(term):
    await term.write(job("a", dedup="d"))
    await claim(term.queue)
    await term.write(job("b", dedup="d"))
    assert (await term.write(job("b", dedup="d"))).redelivered == 1
    assert await ids(term.queue, JobState.DELAYED) == ["b"]
