"""Leases and outcomes of a pool (Q2, Q6)."""

import asyncio

import pytest
from support.work_tree import DISPATCHER, KEEPER, TTL, slot, working

from forebay.actors.work.lease_keeper import LAPSED
from forebay.actors.work.messages import Assignment, Claimed, Enrol
from forebay.backends.ports import JobState, Lease
from forebay.config.values import Backoff
from forebay.scenarios.virtual import crash, run_virtual

LONG = Backoff(0.1, 30.0)
"""As in production."""


def test_leases_are_renewed_every_third_of_their_time_while_a_job_runs_and_not_after():
    async def main():
        async with working() as (shop, _, pool):
            await shop.post("j", seconds=20)
            await shop.finished()
            assert pool.calls("renew") == pytest.approx(20 / (TTL / 3), abs=1)
            before = pool.calls("renew")
            await asyncio.sleep(3600)
            assert pool.calls("renew") == before
            assert pool.calls("reap") > 3600

    run_virtual(main)


def test_a_job_that_outlives_many_leases_runs_once():
    async def main():
        async with working(names=("a", "b")) as (shop, diary, *_):
            await shop.post("j", seconds=20 * TTL)
            await shop.finished()
            assert [(e.attempt, e.how) for e in diary.entries] == [(1, "done")]

    run_virtual(main)


def test_outcomes_wait_for_an_absent_queue():
    async def main():
        async with working() as (shop, diary, pool):
            await shop.post("j", seconds=1)
            await diary.begun()
            pool.faults[0].down = True
            await asyncio.sleep(TTL - 2)
            assert diary.ids("done") == ["j"]
            assert await shop.leased() == 1
            pool.heal()
            await shop.finished()
            assert len(diary.entries) == 1
            assert pool.recorded("done") == 1

    run_virtual(main)


@pytest.mark.parametrize("seed", range(10))
def test_outcomes_wait_no_longer_for_a_queue_that_is_back_than_renewals_do(seed):
    async def main():
        async with working(backoff=LONG) as (shop, diary, pool):
            await shop.post("j", seconds=0.5)
            await diary.begun()
            pool.faults[0].down = True
            await asyncio.sleep(TTL - 1)
            pool.heal()
            await asyncio.sleep(TTL / 6)
            assert pool.recorded("done") == 1

    run_virtual(main, seed=seed)


@pytest.mark.parametrize("seed", range(10))
def test_a_stop_tries_at_once_to_record_what_waited_for_the_queue(seed):
    """Found by the swarm's seed 583: the wait after an outage outlasted the stop."""

    async def main():
        async with working(backoff=LONG, ttl=100.0) as (shop, diary, pool):
            await shop.post("j", seconds=0.5)
            await diary.begun()
            pool.faults[0].down = True
            await asyncio.sleep(60)
            stopping = asyncio.ensure_future(pool.runtime.stop())
            await asyncio.sleep(1)
            pool.heal()
            report = await stopping
            assert report.forced == ()
            assert pool.recorded("done") == 1

    run_virtual(main, seed=seed)


def test_a_silent_queue_is_a_lapsed_lease_too():
    async def main():
        async with working() as (shop, diary, pool):
            await shop.post("j", seconds=100)
            await diary.begun()
            pool.faults[0].silent = True
            await asyncio.sleep(TTL + 0.1)
            assert diary.ids("CancelledError") == ["j"]

    run_virtual(main)


def test_a_job_whose_lease_lapsed_runs_again_though_its_worker_is_never_idle():
    """The lease is the worker's as a whole: what it claims when the queue is back must not hold on what it has lost (Q6)."""

    async def main():
        async with working(slots=2) as (shop, diary, pool):
            await shop.post("j", seconds=2 * TTL)
            await diary.begun()
            pool.faults[0].down = True
            for number in range(100):
                await shop.post(f"other{number}", seconds=TTL / 4)
            await asyncio.sleep(TTL + 1)
            assert diary.ids("CancelledError") == ["j"]
            pool.heal()
            await asyncio.sleep(3 * TTL)
            waiting = await shop.routes["jobs"].browse("jobs", JobState.PENDING, 1000)
            assert [(view.attempt, view.error) for view in waiting if view.id == "j"] == [(1, LAPSED)]
            await shop.finished()
            assert [(e.attempt, e.how) for e in diary.of("j")] == [(1, "CancelledError"), (2, "done")]
            assert diary.overlaps == []

    run_virtual(main)


def test_an_outage_shorter_than_the_lease_cancels_nothing():
    async def main():
        async with working() as (shop, diary, pool):
            await shop.post("j", seconds=30)
            await diary.begun()
            pool.faults[0].down = True
            await asyncio.sleep(TTL - TTL / 3 - 2)
            pool.heal()
            await shop.finished()
            assert [(e.attempt, e.how) for e in diary.entries] == [(1, "done")]

    run_virtual(main)


def test_what_was_reaped_is_lost_at_the_next_renewal():
    async def main():
        async with working(slots=1) as (shop, diary, pool):
            await shop.post("j", seconds=30)
            await diary.begun()
            store = shop.stores[0].queue()
            store._database._connection.execute("UPDATE workers SET lease_end = 0")
            await asyncio.sleep(TTL / 3 + 1)
            assert diary.ids("CancelledError") == ["j"]
            assert [note["job"] for note in pool.notes("lease_lost")] == ["j"]
            await shop.finished()
            assert [(e.attempt, e.how) for e in diary.entries] == [(1, "CancelledError"), (2, "done")]

    run_virtual(main)


def test_a_refused_outcome_is_reported_and_changes_nothing():
    async def main():
        async with working(slots=1) as (shop, diary, pool):
            await shop.post("j", seconds=2)
            await diary.begun()
            store = shop.stores[0].queue()
            await asyncio.sleep(1.5)
            store._database._connection.execute("UPDATE workers SET lease_end = 0")
            await store.reap("jobs", 10)
            (view,) = await store.browse("jobs", JobState.PENDING, 10)
            await store.claim("jobs", Lease("someone else", 1, 100.0), 10)
            await asyncio.sleep(1)
            assert diary.ids("done") == ["j"]
            assert pool.recorded("refused") == 1
            (view,) = await store.browse("jobs", JobState.IN_FLIGHT, 10)
            assert view.attempt == 2

    run_virtual(main)


def test_a_new_keeper_is_a_new_worker_and_old_claims_run_again_after_their_lease():
    async def main():
        async with working(drain=0.5) as (shop, diary, pool):
            first = await pool.runtime.ref(KEEPER).ask(Enrol(), 1)
            await shop.post("j", seconds=20)
            await diary.begun()
            await crash(pool.runtime, KEEPER)
            await asyncio.sleep(2)
            second = await pool.runtime.ref(KEEPER).ask(Enrol(), 1)
            assert second.worker != first.worker
            await shop.finished()
            assert [(e.attempt, e.how) for e in diary.entries] == [(1, "CancelledError"), (2, "done")]
            assert diary.entries[1].begun >= TTL
            assert diary.overlaps == []

    run_virtual(main)


def test_claims_of_an_earlier_worker_are_none_of_ours():
    async def main():
        async with working(slots=1) as (_shop, _diary, pool):
            await asyncio.sleep(1)
            stale = Claimed("an earlier one", "jobs", 1000, 0.0, (Assignment(slot(0), 1, "x", 1),))
            pool.runtime.ref(KEEPER).tell(stale)
            enrolled = await pool.runtime.ref(KEEPER).ask(Enrol(), 1)
            assert enrolled.received["jobs"] < 1000
            await asyncio.sleep(TTL)
            assert pool.notes("lease_lost") == []

    run_virtual(main)


def test_a_job_assigned_to_a_slot_that_has_ended_goes_back_with_its_attempt_not_counted():
    async def main():
        async with working(slots=1) as (_shop, _diary, pool):
            await crash(pool.runtime, slot(0))
            await asyncio.sleep(1)
            worker = (await pool.runtime.ref(KEEPER).ask(Enrol(), 1)).worker
            claimed = Claimed(worker, "jobs", 500, asyncio.get_running_loop().time(), (Assignment(slot(0), 1, "y", 77),))
            pool.runtime.ref(KEEPER).tell(claimed)
            await asyncio.sleep(1)
            assert pool.recorded("refused") == 1  # the Release of a lease that this queue never gave

    run_virtual(main)


def test_an_answer_that_came_later_than_its_lease_lasts_is_not_begun_upon():
    async def main():
        async with working(slots=1) as (shop, diary, pool):
            await shop.post("j", seconds=100)
            await diary.begun()
            worker = (await pool.runtime.ref(KEEPER).ask(Enrol(), 1)).worker
            pool.faults[0].silent = True
            await asyncio.sleep(TTL + 1)
            now = asyncio.get_running_loop().time()
            late = Claimed(worker, "jobs", 99, now - 3 * TTL, (Assignment(slot(0), 1, "late", 5),))
            pool.runtime.ref(KEEPER).tell(late)
            await asyncio.sleep(0.1)
            assert [note["job"] for note in pool.notes("lease_lost")] == ["j", "late"]

    run_virtual(main)


def test_a_stop_gives_back_what_was_claimed_and_never_received():
    async def main():
        async with working(slots=1) as (shop, diary, pool):
            await asyncio.sleep(1)
            pool.faults[0].lose = 1.0
            await shop.post("j", seconds=100)
            await shop.claimed()
            stopping = asyncio.ensure_future(pool.runtime.stop())
            await asyncio.sleep(0.01)
            pool.heal()
            report = await stopping
            assert report.forced == ()
            assert diary.entries == []
            counts = await shop.routes["jobs"].counts("jobs")
            assert (counts.pending, counts.in_flight) == (1, 0)

    run_virtual(main)


def test_a_stop_records_every_outcome_first():
    async def main():
        async with working(slots=20, drain=3.0) as (shop, diary, pool):
            for number in range(20):
                await shop.post(f"j{number}", seconds=1 + number / 4)
            await diary.begun(20)
            report = await pool.runtime.stop()
            assert report.forced == ()
            counts = await shop.routes["jobs"].counts("jobs")
            assert counts.in_flight == 0
            assert counts.pending == 20 - len(diary.ids("done"))
            assert len(diary.ids("done")) == 9

    run_virtual(main)


def test_a_stop_records_what_many_slots_did_at_the_same_moment():
    """More than the keeper reads in one turn: the slots' ends must not overtake what they said last (Q6)."""

    async def main():
        async with working(slots=200, drain=3.0) as (shop, diary, pool):
            for number in range(200):
                await shop.post(f"j{number}", seconds=1)
            await diary.begun(200)
            report = await pool.runtime.stop()
            assert report.forced == ()
            assert len(diary.ids("done")) == 200
            assert pool.recorded("done") == 200
            assert (await shop.routes["jobs"].counts("jobs")).unfinished == 0

    run_virtual(main)


def test_a_stop_while_the_queue_is_away_ends_in_time_and_says_that_it_was_forced():
    async def main():
        async with working(drain=1.0) as (shop, diary, pool):
            await shop.post("j", seconds=0.5)
            await diary.begun()
            pool.faults[0].down = True
            await asyncio.sleep(1)
            report = await pool.runtime.stop()
            assert report.forced == (KEEPER,)
            assert report.seconds < 10
            assert await shop.leased() == 1

    run_virtual(main)


def test_slots_that_are_taken_out_of_the_tree_leave_no_job_behind():
    async def main():
        async with working(slots=2) as (shop, diary, pool):
            await shop.post("j", seconds=20)
            await shop.post("k", seconds=20)
            await diary.begun(2)
            await pool.runtime.system.find(slot(0)).process.supervisor.terminate_child("slot[0]")
            await shop.finished()
            assert sorted(diary.ids("done")) == ["j", "k"]
            assert [e.attempt for e in diary.entries] == [1, 1, 1]

    run_virtual(main)


def test_a_job_that_a_slot_had_not_begun_when_it_was_stopped_has_not_used_an_attempt():
    async def main():
        async with working(slots=1, ttl=60.0) as (shop, diary, pool):
            await shop.post("j", seconds=50)
            await diary.begun()
            await shop.post("y", seconds=1)
            store = shop.stores[0].queue()
            worker = (await pool.runtime.ref(KEEPER).ask(Enrol(), 1)).worker
            (claim,) = await store.claim("jobs", Lease(worker, 1000, 60.0), 10)
            given = Assignment(slot(0), 1, "y", claim.epoch)
            pool.runtime.ref(KEEPER).tell(Claimed(worker, "jobs", 1000, asyncio.get_running_loop().time(), (given,)))
            await pool.runtime.system.find(slot(0)).process.supervisor.terminate_child("slot[0]")
            await asyncio.sleep(1)
            views = await store.browse("jobs", JobState.PENDING, 10)
            assert [(view.id, view.attempt, view.error) for view in views] == [("j", 0, None), ("y", 0, None)]

    run_virtual(main)


def test_a_stop_that_meets_the_end_of_a_slot_gives_back_what_the_slot_had_not_begun():
    async def main():
        async with working(slots=1, ttl=60.0) as (shop, diary, pool):
            system = pool.runtime.system
            worker = (await pool.runtime.ref(KEEPER).ask(Enrol(), 1)).worker
            await crash(pool.runtime, DISPATCHER)  # which claims nothing while it waits for its restart
            await shop.post("y", seconds=1)
            (claim,) = await shop.stores[0].queue().claim("jobs", Lease(worker, 1000, 60.0), 10)
            given = Assignment(slot(0), 1, "y", claim.epoch)
            pool.runtime.ref(KEEPER).tell(Claimed(worker, "jobs", 1000, asyncio.get_running_loop().time(), (given,)))
            await asyncio.sleep(0)
            ending, keeper = system.find(slot(0)).process, system.find(KEEPER).process
            ending.task.add_done_callback(lambda _: keeper.stop("now", 5.0))
            ending.task.cancel()
            await shop.finished(within=30.0)  # half of what it would take if the lease had to lapse
            assert keeper.task is None
            assert diary.ids("done") == ["y"]

    run_virtual(main)
