"""One slot's jobs: outcomes, time-outs, lost leases, stops (Q2, Q6, Q8)."""

import asyncio
import sys

import pytest
from support.work_tree import ATTEMPTS, KEEPER, TTL, Diary, slot, working

from forebay.actors.events import DeadLetter
from forebay.actors.work.messages import Assign, LeaseLost
from forebay.actors.work.worker_slot import CANCEL_PATIENCE
from forebay.backends.ports import Claim, JobState
from forebay.config.values import Backoff
from forebay.jobs.context import Fail, RetryAfter
from forebay.jobs.policy import MAX_CAP, RetryPolicy
from forebay.jobs.registry import Registry
from forebay.scenarios.virtual import crash, run_virtual

POLICY = RetryPolicy(ATTEMPTS, 0.1, 0.1)


def one(handler, timeout=None, retry=POLICY):
    """A registry with this handler for the type `work`."""
    registry = Registry()
    registry.job("work", retry=retry, timeout=timeout)(handler)
    return registry


def working_with(handler, timeout=None, retry=POLICY, **options):
    return working(registry=one(handler, timeout, retry), **{"slots": 1} | options)


# outcomes


class Odd(BaseException):
    """Not an Exception, as some libraries' control flow is not."""


def raiser(make):
    async def handler(job):
        raise make()

    return handler


async def cancels_itself(job):
    asyncio.current_task().cancel()
    await asyncio.sleep(1)


async def awaits_what_was_cancelled(job):
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@pytest.mark.parametrize(
    ("handler", "first_line"),
    [
        (raiser(lambda: ValueError("boom")), "ValueError: boom"),
        (raiser(lambda: Odd("boom")), "Odd: boom"),
        (raiser(lambda: SystemExit(3)), "SystemExit: 3"),
        (raiser(lambda: asyncio.CancelledError("by itself")), "asyncio.exceptions.CancelledError: by itself"),
        (raiser(lambda: RetryAfter(0.5, "busy")), "forebay.jobs.context.RetryAfter: busy"),
        (cancels_itself, "asyncio.exceptions.CancelledError"),
        (awaits_what_was_cancelled, "asyncio.exceptions.CancelledError"),
    ],
)
def test_a_job_that_always_fails_ends_dead_after_its_attempts_with_its_error(handler, first_line):
    async def main():
        async with working_with(handler) as (shop, _, pool):
            await shop.post("j")
            await shop.post("another", type_="none")
            await shop.finished()
            dead = (await shop.dead())["j"]
            assert dead.attempt == ATTEMPTS
            assert dead.error.splitlines()[0].endswith(first_line)
            assert pool.recorded("retry") == ATTEMPTS - 1
            assert pool.starts(slot(0)) == [1]

    run_virtual(main)


def test_fail_is_dead_at_once():
    async def main():
        async with working_with(raiser(lambda: Fail("never"))) as (shop, _, _pool):
            await shop.post("j")
            await shop.finished()
            assert (await shop.dead())["j"].attempt == 1

    run_virtual(main)


@pytest.mark.parametrize(("seconds", "waited"), [(7.5, 7.5), (1e300, MAX_CAP)])
def test_retry_after_takes_the_place_of_the_policys_delay(seconds, waited):
    async def main():
        async with working_with(raiser(lambda: RetryAfter(seconds, "busy"))) as (shop, _, pool):
            clock = pool.runtime.system.clock
            await shop.post("j")
            before = clock.wall()
            await asyncio.sleep(1)
            (view,) = await shop.routes["jobs"].browse("jobs", JobState.RETRYING, 10)
            assert view.due - before == pytest.approx(waited * 1000, abs=5)

    run_virtual(main)


def test_an_unknown_type_is_dead_with_advice_and_can_be_resubmitted():
    async def main():
        async with working() as (shop, diary, _pool):
            await shop.post("j", type_="nobody.knows")
            await shop.finished()
            dead = (await shop.dead())["j"]
            assert "no handler for type 'nobody.knows'" in dead.error
            assert "resubmit" in dead.error
            await shop.post("k")
            await shop.finished()
            assert diary.ids("done") == ["k"]

    run_virtual(main)


def test_a_job_whose_workers_keep_dying_is_dead_without_another_run():
    async def main():
        async with working(slots=1) as (shop, diary, pool):
            await shop.post("j", seconds=30)
            for _ in range(ATTEMPTS):
                await diary.begun()
                await crash(pool.runtime, slot(0))
            await shop.finished()
            dead = (await shop.dead())["j"]
            assert (dead.attempt, len(diary.entries)) == (ATTEMPTS + 1, ATTEMPTS)
            assert "may be what ends them" in dead.error

    run_virtual(main)


def test_the_handler_sees_the_job_as_posted():
    seen = []

    async def handler(job):
        seen.append(job)

    async def main():
        async with working_with(handler) as (shop, _, _pool):
            await shop.post("j", n=1)
            await shop.finished()

    run_virtual(main)
    (job,) = seen
    assert (job.id, job.type, job.topic, job.attempt, job.max_attempts) == ("j", "work", "jobs", 1, ATTEMPTS)
    assert job.raw == b'{"n": 1}'


# time-outs


def test_a_handler_over_its_time_out_is_cancelled_and_its_attempt_counts():
    diary = Diary()

    async def handler(job):
        with diary.run(job):
            await asyncio.sleep(100)

    async def main():
        async with working_with(handler, timeout=2.0) as (shop, _, _pool):
            await shop.post("j")
            await shop.finished()
            assert [(e.attempt, e.how, e.ended - e.begun) for e in diary.entries] == [
                (n, "CancelledError", 2.0) for n in (1, 2, 3)
            ]
            assert "time-out of 2 s" in (await shop.dead())["j"].error

    run_virtual(main)


def test_a_handlers_own_time_out_is_not_ours():
    async def handler(job):
        async with asyncio.timeout(0.5):
            await asyncio.sleep(100)

    async def main():
        async with working_with(handler, timeout=2.0) as (shop, _, _pool):
            await shop.post("j")
            await shop.finished()
            assert (await shop.dead())["j"].error.startswith("TimeoutError")

    run_virtual(main)


def test_a_handler_that_finishes_although_it_was_told_to_end_is_done():
    async def handler(job):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    async def main():
        async with working_with(handler, timeout=2.0) as (shop, _, pool):
            await shop.post("j")
            await shop.finished()
            assert pool.recorded("done") == 1

    run_virtual(main)


def test_a_handler_that_ignores_its_time_out_is_recorded_and_keeps_only_its_slot():
    release = []

    async def handler(job):
        if job.id == "good":
            return
        release.append(asyncio.get_running_loop().create_future())
        while not release[0].done():
            try:
                await asyncio.shield(release[0])
            except asyncio.CancelledError:
                continue

    async def main():
        async with working_with(handler, timeout=2.0, retry=RetryPolicy(1)) as (shop, _, pool):
            await shop.post("bad")
            await asyncio.sleep(2 + CANCEL_PATIENCE + 0.1)
            assert "time-out" in (await shop.dead())["bad"].error
            assert [note["job"] for note in pool.notes("handler_overdue")] == ["bad"]
            await shop.post("good")
            await asyncio.sleep(5)
            assert (await shop.routes["jobs"].counts("jobs")).pending == 1
            release[0].set_result(None)
            await shop.finished()
            assert pool.recorded("done") == 1

    run_virtual(main)


# leases


def test_a_job_whose_lease_is_lost_is_cancelled_and_has_no_outcome():
    async def main():
        async with working() as (shop, diary, pool):
            await shop.post("j", seconds=100)
            await diary.begun()
            pool.faults[0].down = True
            await asyncio.sleep(TTL + 0.1)
            assert diary.ids("CancelledError") == ["j"]
            assert diary.entries[0].ended <= TTL
            assert pool.notes("lease_lost") == [{"topic": "jobs", "job": "j", "slot": slot(0)}]
            await asyncio.sleep(5)
            pool.heal()
            await shop.finished()
            assert [(e.attempt, e.how) for e in diary.entries] == [(1, "CancelledError"), (2, "done")]
            assert pool.notes("outcome_unknown") == []
            assert pool.recorded("refused") == 0

    run_virtual(main)


def test_a_lease_lost_for_another_job_is_none_of_the_slots_business():
    async def main():
        async with working(slots=1) as (shop, diary, pool):
            await shop.post("j", seconds=5)
            await diary.begun()
            pool.runtime.ref(slot(0)).tell(LeaseLost("jobs", "j", 999))
            await shop.finished()
            assert [e.how for e in diary.entries] == ["done"]

    run_virtual(main)


def test_a_job_that_is_lost_before_its_handler_began_does_not_hold_the_slot():
    async def main():
        async with working(slots=1) as (shop, diary, pool):
            await asyncio.sleep(1)
            ref = pool.runtime.ref(slot(0))
            ref.tell(Assign(1, Claim("jobs", "x", "work", 7, 1, 1, b"{}")))
            ref.tell(LeaseLost("jobs", "x", 7))
            await asyncio.sleep(1)
            await shop.post("j")
            await shop.finished()
            assert [(e.id, e.how) for e in diary.entries] == [("j", "done")]

    run_virtual(main)


def test_a_job_for_an_earlier_incarnation_is_not_begun():
    async def main():
        async with working(slots=1) as (_shop, diary, pool):
            await crash(pool.runtime, slot(0))
            await asyncio.sleep(1)
            pool.runtime.ref(slot(0)).tell(Assign(1, Claim("jobs", "x", "work", 7, 1, 1, b"{}")))
            await asyncio.sleep(1)
            assert diary.entries == []

    run_virtual(main)


def test_a_busy_slot_gives_a_second_job_back():
    async def main():
        async with working(slots=1) as (shop, diary, pool):
            await shop.post("j", seconds=5)
            await diary.begun()
            pool.runtime.ref(slot(0)).tell(Assign(1, Claim("jobs", "x", "work", 7, 1, 1, b"{}")))
            await shop.finished()
            assert [e.id for e in diary.entries] == ["j"]
            assert pool.notes("outcome_unknown") == [{"topic": "jobs", "job": "x", "outcome": "Release"}]

    run_virtual(main)


# stops and crashes


@pytest.mark.parametrize(("seconds", "how", "left"), [(1.5, "done", 0), (60, "CancelledError", 1)])
def test_a_stop_lets_handlers_end_and_then_gives_their_jobs_back(seconds, how, left):
    async def main():
        async with working(drain=2.0) as (shop, diary, pool):
            await shop.post("j", seconds=seconds)
            await diary.begun()
            report = await pool.runtime.stop()
            assert (report.forced, report.abandoned, report.zombies) == ((), (), ())
            assert [e.how for e in diary.entries] == [how]
            counts = await shop.routes["jobs"].counts("jobs")
            assert (counts.pending, counts.in_flight) == (left, 0)
            for view in await shop.routes["jobs"].browse("jobs", JobState.PENDING, 10):
                assert view.attempt == 0

    run_virtual(main)


def test_a_handler_that_times_out_during_the_stop_has_failed():
    diary = Diary()

    async def handler(job):
        with diary.run(job):
            await asyncio.sleep(100)

    async def main():
        async with working_with(handler, timeout=1.0, drain=5.0) as (shop, _, pool):
            await shop.post("j")
            await diary.begun()
            report = await pool.runtime.stop()
            assert report.seconds == pytest.approx(1.0, abs=0.1)
            (view,) = await shop.routes["jobs"].browse("jobs", JobState.RETRYING, 10)
            assert "time-out" in view.error

    run_virtual(main)


def test_a_handler_that_fails_because_it_was_stopped_has_not_used_an_attempt():
    async def handler(job):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            raise ValueError("half done") from None

    async def main():
        async with working_with(handler, drain=0.5) as (shop, _, pool):
            await shop.post("j")
            await asyncio.sleep(1)
            await pool.runtime.stop()
            (view,) = await shop.routes["jobs"].browse("jobs", JobState.PENDING, 10)
            assert (view.attempt, view.error) == (0, None)

    run_virtual(main)


def test_a_slots_crash_fails_the_attempt_it_ran_and_nothing_else():
    async def main():
        async with working(slots=2) as (shop, diary, pool):
            await shop.post("j", seconds=5)
            await shop.post("k", seconds=5)
            await diary.begun(2)
            await crash(pool.runtime, slot(0))
            await shop.finished()
            by_id = {id_: [(e.attempt, e.how) for e in diary.of(id_)] for id_ in "jk"}
            assert by_id == {"j": [(1, "CancelledError"), (2, "done")], "k": [(1, "done")]}
            assert diary.of("j")[1].begun < 1  # at once, not when the lease lapses
            assert pool.starts(KEEPER) == [1]

    run_virtual(main)


def test_the_job_of_a_crashed_slot_runs_elsewhere_and_does_not_wait_for_its_restart():
    async def main():
        async with working(slots=2, restarts=Backoff(25.0, 30.0)) as (shop, diary, pool):
            await crash(pool.runtime, slot(0))
            await asyncio.sleep(2)  # this restart was immediate, the next one is not
            await shop.post("j", seconds=5)
            await shop.post("k", seconds=1)
            await diary.begun(2)
            await crash(pool.runtime, slot(0))
            await asyncio.sleep(1.5)
            assert pool.runtime.ref(slot(0)).alive is False
            assert max(e.attempt for e in diary.running) == 2

    run_virtual(main)


def test_a_handler_that_leaves_the_program_leaves_only_its_job():
    async def handler(job):
        sys.exit("bye")

    async def main():
        async with working_with(handler, retry=RetryPolicy(1)) as (shop, _, _pool):
            await shop.post("j")
            await shop.finished()
            assert (await shop.dead())["j"].error.startswith("SystemExit: bye")

    run_virtual(main)


@pytest.mark.parametrize("passes", range(-3, 60))
def test_a_stop_that_meets_the_end_of_a_handler_leaves_no_dead_letter(passes):
    """A5: what a slot tells itself is void with it."""

    async def main():
        end = asyncio.Event()

        async def handler(job):
            await end.wait()

        async with working_with(handler) as (shop, _, pool):
            await shop.post("j")
            await shop.claimed()
            await asyncio.sleep(1)
            stopping = None
            for instant in range(-3, 60):
                if instant == 0:
                    stopping = asyncio.ensure_future(pool.runtime.stop())
                if instant == passes:
                    end.set()
                await asyncio.sleep(0)
            await stopping
            assert pool.recorded("done") == 1
            assert [event for event in pool.history() if isinstance(event, DeadLetter)] == []

    run_virtual(main)
