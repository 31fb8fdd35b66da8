"""The workers' and people's side of the `Queue` port, sentence by sentence (Q2, Q5, Q6)."""

import asyncio

import pytest
from support.adapters import QUEUES
from support.relay import job

from forebay.backends.errors import Unavailable
from forebay.backends.ports import (
    Counts,
    Dead,
    Done,
    JobState,
    Lease,
    ParkedRecord,
    Release,
    Retry,
)

ADAPTERS = QUEUES


async def claim(queue, sequence=1, limit=100, worker="w", ttl=30.0):
    return await queue.claim("jobs", Lease(worker, sequence, ttl), limit)


async def end(queue, *outcomes, worker="w"):
    return list(await queue.end("jobs", worker, outcomes))


def names(claims):
    return [c.id for c in claims]


# claim


async def test_an_unknown_topic_has_nothing_to_claim(queue):
    assert names(await claim(queue)) == []


async def test_claims_come_oldest_first_and_no_more_than_the_limit(term):
    await term.write(*(job(f"j{n}") for n in (3, 1, 2)))
    assert names(await claim(term.queue, 1, limit=2)) == ["j3", "j1"]
    assert names(await claim(term.queue, 2, limit=2)) == ["j2"]


async def test_age_counts_and_not_the_order_of_arrival(term):
    await term.write(job("young", enqueued_at=2000), job("old", enqueued_at=1000))
    assert names(await claim(term.queue)) == ["old", "young"]


async def test_the_same_claim_again_returns_the_same(term):
    await term.write(job("a"), job("b"), job("c"))
    first = await claim(term.queue, 1, limit=2)
    assert await claim(term.queue, 1, limit=2) == first
    assert names(await claim(term.queue, 2, limit=2)) == ["c"]
    assert await claim(term.queue, 1, limit=2) == first


async def test_an_empty_claim_again_is_empty_again(term):
    assert names(await claim(term.queue, 1)) == []
    await term.write(job("a"))
    assert names(await claim(term.queue, 1)) == []
    assert names(await claim(term.queue, 2)) == ["a"]


async def test_a_claim_of_no_jobs_tells_what_that_call_took_and_takes_nothing(term):
    await term.write(job("a"), job("b"))
    first = await claim(term.queue, 1, limit=1)
    assert await claim(term.queue, 1, limit=0) == first
    assert names(await claim(term.queue, 2, limit=0)) == []
    assert names(await claim(term.queue, 2, limit=5)) == []
    assert names(await claim(term.queue, 3, limit=5)) == ["b"]


async def test_sequences_of_two_workers_are_apart(term):
    await term.write(job("a"), job("b"))
    assert names(await claim(term.queue, 1, 1, worker="v")) == ["a"]
    assert names(await claim(term.queue, 1, 1, worker="w")) == ["b"]


async def test_concurrent_claims_share_no_job(term):
    await term.write(*(job(f"j{n:03}") for n in range(100)))
    claims = await asyncio.gather(*(claim(term.queue, 1, 7, f"w{n}") for n in range(20)))
    assert sorted(n for c in claims for n in names(c)) == [f"j{n:03}" for n in range(100)]


# end


async def test_a_done_job_is_gone(term):
    await term.write(job("a"))
    (got,) = await claim(term.queue)
    assert await end(term.queue, Done("a", got.epoch)) == [True]
    assert await term.queue.counts("jobs") == Counts(0, 0, 0, 0, 0, 0)
    assert await end(term.queue, Done("a", got.epoch)) == [False]


async def test_outcomes_are_judged_one_by_one(term):
    await term.write(job("a"), job("b"))
    one, two = await claim(term.queue)
    outcomes = (
        Done("nobody", 1),
        Done("a", one.epoch),
        Done("b", two.epoch + 1),
        Dead("b", two.epoch, "e"),
    )
    assert await end(term.queue, *outcomes) == [False, True, False, True]


@pytest.mark.parametrize(
    "outcome",
    [
        lambda epoch: Done("a", epoch),
        lambda epoch: Retry("a", epoch, 0, "e"),
        lambda epoch: Dead("a", epoch, "e"),
        lambda epoch: Release("a", epoch),
    ],
    ids=["done", "retry", "dead", "release"],
)
async def test_only_the_holder_of_the_lease_can_end_the_job(term, outcome):
    await term.write(job("a"))
    (first,) = await claim(term.queue)
    await end(term.queue, Release("a", first.epoch))
    (second,) = await claim(term.queue, 2, worker="v")
    before = await term.queue.browse("jobs", JobState.IN_FLIGHT, 10)
    assert await end(term.queue, outcome(first.epoch)) == [False]
    assert await end(term.queue, outcome(second.epoch)) == [False]
    assert await term.queue.browse("jobs", JobState.IN_FLIGHT, 10) == before
    assert await end(term.queue, outcome(second.epoch), worker="v") == [True]


async def test_a_retry_waits_for_its_delay_and_counts_its_attempt(term, site):
    await term.write(job("a"))
    (first,) = await claim(term.queue)
    await end(term.queue, Retry("a", first.epoch, 5.0, "boom"))
    (view,) = await term.queue.browse("jobs", JobState.RETRYING, 10)
    assert (view.error, view.attempt, view.due) == ("boom", 1, site.clock.wall() + 5000)
    await site.advance(4.5)
    assert (await term.queue.promote("jobs", 10)).count == 0
    await site.advance(0.5)
    assert (await term.queue.promote("jobs", 10)).count == 1
    (second,) = await claim(term.queue, 2)
    assert (second.id, second.attempt) == ("a", 2)
    assert second.epoch > first.epoch


async def test_a_released_job_is_first_again_and_its_attempt_does_not_count(term):
    await term.write(job("a"), job("b"))
    (first,) = await claim(term.queue, 1, limit=1)
    assert await end(term.queue, Release("a", first.epoch)) == [True]
    again, _ = await claim(term.queue, 2)
    assert (again.id, again.attempt) == ("a", 1)
    assert again.epoch > first.epoch


async def test_an_old_lease_cannot_end_a_job_that_came_back_under_its_id(term):
    await term.write(job("a"))
    (old,) = await claim(term.queue)
    await end(term.queue, Done("a", old.epoch))
    await term.write(job("a"))
    (new,) = await claim(term.queue, 2)
    assert new.epoch > old.epoch
    assert await end(term.queue, Done("a", old.epoch)) == [False]


# leases


async def test_renewing_tells_what_the_worker_holds(term):
    await term.write(job("a"), job("b"), job("c"))
    one, two = await claim(term.queue, 1, limit=2)
    await claim(term.queue, 1, worker="v")
    await end(term.queue, Done("a", one.epoch))
    assert await term.queue.renew("jobs", "w", 1, 30) == {("b", two.epoch)}
    assert await term.queue.renew("jobs", "nobody", 0, 30) == frozenset()


async def test_claims_that_were_never_received_go_back(term):
    await term.write(job("a"), job("b"))
    (one,) = await claim(term.queue, 1, limit=1)
    (two,) = await claim(term.queue, 2, limit=1)
    assert await term.queue.renew("jobs", "w", 1, 30) == {("a", one.epoch)}
    assert await end(term.queue, Done("b", two.epoch)) == [False]
    assert names(await claim(term.queue, 2, limit=1)) == []
    (again,) = await claim(term.queue, 3, limit=1)
    assert (again.id, again.attempt) == ("b", 1)


async def test_a_renewal_that_names_a_sequence_to_come_gives_nothing_back_and_changes_no_later_claim(term):
    await term.write(job("a"), job("b"))
    (one,) = await claim(term.queue, 1, limit=1)
    assert await term.queue.renew("jobs", "w", 2**53 - 1, 30) == {("a", one.epoch)}
    (two,) = await claim(term.queue, 2, limit=1)
    assert await term.queue.renew("jobs", "w", 2, 30) == {("a", one.epoch), ("b", two.epoch)}


async def test_a_lease_that_is_renewed_is_not_reaped(term, site):
    await term.write(job("a"))
    await claim(term.queue, ttl=10)
    for _ in range(3):
        await site.advance(8)
        await term.queue.renew("jobs", "w", 1, 10)
        assert (await term.queue.reap("jobs", 10)).count == 0


async def test_a_claim_renews_the_workers_lease_and_never_shortens_it(term, site):
    await term.write(job("a"), job("b"), job("c"))
    await claim(term.queue, 1, limit=1, ttl=10)
    await site.advance(8)
    await claim(term.queue, 2, limit=1, ttl=10)
    await claim(term.queue, 3, limit=1, ttl=1)
    await site.advance(8)
    assert (await term.queue.reap("jobs", 10)).count == 0
    await site.advance(2)
    assert (await term.queue.reap("jobs", 10)).count == 3


async def test_a_lapsed_workers_jobs_run_elsewhere_under_a_new_epoch(term, site):
    await term.write(job("a"))
    (old,) = await claim(term.queue, ttl=10)
    await site.advance(10)
    assert (await term.queue.reap("jobs", 10)).count == 1
    (new,) = await claim(term.queue, 1, worker="v")
    assert (new.id, new.attempt) == ("a", 2)
    assert new.epoch > old.epoch
    assert await end(term.queue, Done("a", old.epoch)) == [False]
    assert await term.queue.renew("jobs", "w", 1, 10) == frozenset()


async def test_reaping_takes_at_most_its_limit_and_leaves_the_living(term, site):
    await term.write(*(job(f"j{n}") for n in range(5)))
    await claim(term.queue, 1, 4, worker="dead", ttl=10)
    await claim(term.queue, 1, 1, worker="alive", ttl=99)
    await site.advance(10)
    moved = [(await term.queue.reap("jobs", 3)).count for _ in range(3)]
    assert moved == [3, 1, 0]
    assert (await term.queue.counts("jobs")).in_flight == 1


async def test_reap_tells_when_the_next_lease_ends(term, site):
    assert (await term.queue.reap("jobs", 10)).next_due is None
    await term.write(job("a"))
    await claim(term.queue, ttl=10)
    due = (await term.queue.reap("jobs", 10)).next_due
    assert abs(due - (site.clock.wall() + 10_000)) <= 1
    await site.advance(10)
    assert (await term.queue.reap("jobs", 10)).next_due is None


async def test_an_idle_worker_is_no_reason_to_reap(queue, term):
    await claim(queue, ttl=10)
    assert (await queue.reap("jobs", 10)).next_due is None


# promote


async def test_a_delayed_job_is_not_claimed_before_its_time(term, site):
    due = site.clock.wall() + 1500
    await term.write(job("a", not_before=due), job("b", not_before=site.clock.wall()))
    assert names(await claim(term.queue)) == ["b"]
    assert (await term.queue.promote("jobs", 10)).next_due == due
    await site.advance(1.5)
    moved = await term.queue.promote("jobs", 10)
    assert (moved.count, moved.next_due) == (1, None)
    assert names(await claim(term.queue, 2)) == ["a"]


async def test_promoting_takes_at_most_its_limit_the_longest_due_first(term, site):
    now = site.clock.wall()
    await term.write(*(job(f"j{n}", not_before=now + n) for n in (3, 1, 2)))
    await site.advance(1)
    moved = await term.queue.promote("jobs", 2)
    assert (moved.count, moved.next_due) == (2, now + 3)
    assert names(await claim(term.queue)) == ["j1", "j2"]


# wait


async def test_wait_returns_at_once_when_a_job_is_pending(term):
    await term.write(job("a"))
    assert await term.queue.wait(["jobs"], 600)
    assert await term.queue.wait(["other", "jobs"], 600)


async def test_wait_gives_up_after_its_timeout(term):
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert not await term.queue.wait(["jobs"], 0.1)
    assert loop.time() - begin >= 0.1


async def readied_by_write(term, site):
    return lambda: term.write(job("new"))


async def readied_by_promotion(term, site):
    await term.write(job("new", not_before=site.clock.wall() + 1000))
    await site.advance(1)
    return lambda: term.queue.promote("jobs", 10)


async def readied_by_reaping(term, site):
    await term.write(job("new"))
    await claim(term.queue, ttl=1)
    await site.advance(1)
    return lambda: term.queue.reap("jobs", 10)


async def readied_by_release(term, site):
    await term.write(job("new"))
    (got,) = await claim(term.queue)
    return lambda: end(term.queue, Release("new", got.epoch))


async def readied_by_giving_back(term, site):
    await term.write(job("new"))
    await claim(term.queue)
    return lambda: term.queue.renew("jobs", "w", 0, 30)


async def readied_by_the_first_ones_end(term, site):
    await term.write(job("a", dedup="d"))
    (got,) = await claim(term.queue)
    await term.write(job("new", dedup="d"))
    return lambda: end(term.queue, Done("a", got.epoch))


async def readied_by_resubmitting(term, site):
    await term.write(job("new"))
    (got,) = await claim(term.queue)
    await end(term.queue, Dead("new", got.epoch, "e"))
    return lambda: term.queue.resubmit("jobs", ["new"])


@pytest.mark.parametrize(
    "prepare",
    [
        readied_by_write,
        readied_by_promotion,
        readied_by_reaping,
        readied_by_release,
        readied_by_giving_back,
        readied_by_the_first_ones_end,
        readied_by_resubmitting,
    ],
)
async def test_wait_ends_as_soon_as_a_job_is(term, site, prepare):
    act = await prepare(term, site)
    waiting = [asyncio.create_task(term.queue.wait(["other", "jobs"], 600)) for _ in range(2)]
    await term.queue.counts("jobs")
    await act()
    assert [await w for w in waiting] == [True, True]
    assert names(await claim(term.queue, 9)) == ["new"]


async def test_waiters_return_when_the_queue_stops(queue):
    waiting = asyncio.create_task(queue.wait(["jobs"], 600))
    await queue.counts("jobs")
    await queue.stop()
    assert await waiting is False


async def test_a_stopped_queue_is_unavailable(queue):
    await queue.stop()
    with pytest.raises(Unavailable):
        await queue.counts("jobs")


# people


async def one_in_each_state(term, site):
    later = site.clock.wall() + 60_000
    await term.write(*(job(i) for i in ("dead", "retrying", "flying")))
    dead, retrying, _ = await claim(term.queue)
    await end(term.queue, Dead("dead", dead.epoch, "e1"), Retry("retrying", retrying.epoch, 60, "e2"))
    await term.write(job("pending"), job("delayed", not_before=later))
    await term.write(lambda offset: ParkedRecord(offset, "e3", b"p"))
    return later


async def test_counts_and_browse_show_every_state(term, site):
    later = await one_in_each_state(term, site)
    assert await term.queue.counts("jobs") == Counts(1, 1, 1, 1, 1, 1)
    seen = {s: await term.queue.browse("jobs", s, 10) for s in JobState}
    assert {s: [v.id for v in views] for s, views in seen.items()} == {
        JobState.PENDING: ["pending"],
        JobState.DELAYED: ["delayed"],
        JobState.RETRYING: ["retrying"],
        JobState.IN_FLIGHT: ["flying"],
        JobState.DEAD: ["dead"],
        JobState.PARKED: ["jobs/0/5"],
    }
    assert all(v.state is s for s, views in seen.items() for v in views)
    (dead,), (delayed,) = seen[JobState.DEAD], seen[JobState.DELAYED]
    assert (dead.error, dead.attempt, dead.args, dead.type, dead.due) == (
        "e1",
        1,
        b"dead",
        "test",
        None,
    )
    assert (delayed.due, delayed.partition, delayed.offset) == (later, 0, 4)


async def test_jobs_are_found_by_id_whatever_their_state_in_the_order_asked(term, site):
    await one_in_each_state(term, site)
    seen = [view for s in JobState for view in await term.queue.browse("jobs", s, 10)]
    ids = [view.id for view in seen]
    assert [view.id for view in await term.queue.find("jobs", ["nobody", *reversed(ids)])] == ids[::-1]
    assert list(await term.queue.find("jobs", ids)) == seen
    assert list(await term.queue.find("jobs", [])) == list(await term.queue.find("other", ids)) == []


async def test_headers_are_shown(term):
    headers = (("trace", b"\xff"), ("trace", b""))
    await term.write(job("a", headers=headers), lambda offset: ParkedRecord(offset, "e", b"p", headers))
    assert [view.headers for view in await term.queue.find("jobs", ["a", "jobs/0/1"])] == [headers, headers]
    (pending,) = await term.queue.browse("jobs", JobState.PENDING, 9)
    assert pending.headers == headers


async def test_the_dedup_id_is_shown_in_flight_and_dead_too(term):
    await term.write(job("a", dedup="=d é"), job("b"), job("c", dedup=""))
    expected = {"a": "=d é", "b": None, "c": ""}

    async def shown():
        return {view.id: view.dedup for view in await term.queue.find("jobs", ["a", "b", "c"])}

    assert await shown() == expected
    claims = await term.queue.claim("jobs", Lease("worker", 1, 30), 9)
    assert await shown() == expected
    await term.queue.end("jobs", "worker", [Dead(c.id, c.epoch, "an error with = and é") for c in claims])
    assert await shown() == expected
    assert {v.id: v.error for v in await term.queue.find("jobs", ["a"])} == {"a": "an error with = and é"}


async def test_browse_goes_on_after_an_id(term):
    await term.write(*(job(i) for i in ("c", "a", "d", "b")))
    browse = term.queue.browse
    assert [v.id for v in await browse("jobs", JobState.PENDING, 2)] == ["a", "b"]
    assert [v.id for v in await browse("jobs", JobState.PENDING, 9, after="b")] == ["c", "d"]


async def test_a_resubmitted_job_starts_afresh(term, site):
    await one_in_each_state(term, site)
    assert await term.queue.resubmit("jobs", ["dead", "pending", "flying", "nobody"]) == 1
    got = {c.id: c for c in await claim(term.queue, 2)}
    assert got["dead"].attempt == 1
    assert (await term.queue.counts("jobs")).dead == 0


async def test_a_resubmitted_job_runs_although_its_dedup_id_is_taken(term):
    await term.write(job("a", dedup="d"))
    (first,) = await claim(term.queue)
    await end(term.queue, Dead("a", first.epoch, "e"))
    await term.write(job("b", dedup="d"))
    assert await term.queue.resubmit("jobs", ["a"]) == 1
    assert sorted(names(await claim(term.queue, 2))) == ["a", "b"]


async def test_only_dead_and_parked_jobs_can_be_discarded(term, site):
    await one_in_each_state(term, site)
    everything = ["dead", "retrying", "flying", "pending", "delayed", "jobs/0/5", "nobody"]
    assert await term.queue.discard("jobs", everything) == 2
    assert await term.queue.counts("jobs") == Counts(1, 1, 1, 1, 0, 0)


async def test_people_see_and_touch_one_topic_only(term, site):
    await one_in_each_state(term, site)
    assert await term.queue.discard("other", ["dead", "jobs/0/5"]) == 0
    assert await term.queue.resubmit("other", ["dead"]) == 0
    assert not await term.queue.browse("other", JobState.DEAD, 10)
