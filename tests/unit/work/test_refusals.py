"""A queue that refuses what workers ask, as when rights are changed: it is waited for, like one that is away (R5)."""

import asyncio

import pytest
from support.work_tree import DISPATCHER, KEEPER, TTL, slot, working

from forebay.actors.events import Noted
from forebay.actors.exits import Shutdown
from forebay.actors.work.dispatcher import WAIT
from forebay.scenarios.virtual import run_virtual

SCHEDULER, REAPER = "/workers/scheduler", "/workers/reaper"
PLACES = (KEEPER, slot(0), slot(1), DISPATCHER, SCHEDULER, REAPER)
CALLS = frozenset({"claim", "renew", "end", "promote", "reap", "wait"})


def told(pool, name):
    """Who has noted that, in order of their paths."""
    return sorted(event.path for event in pool.history() if isinstance(event, Noted) and event.name == name)


def test_it_crashes_nobody_is_noted_once_by_each_and_work_goes_on():
    async def main():
        async with working(slots=2) as (shop, diary, pool):
            await shop.post("held", seconds=2)
            await diary.begun()
            pool.faults[0].forbidden = CALLS
            await shop.post("new", seconds=1)
            await asyncio.sleep(5)
            assert diary.ids("done") == ["held"]
            assert told(pool, "queue_away") == sorted([KEEPER, DISPATCHER, SCHEDULER, REAPER])
            assert told(pool, "queue_back") == []
            assert all("NOPERM" in note["why"] for note in pool.notes("queue_away"))
            pool.heal()
            await shop.post("due", not_before=pool.runtime.system.clock.wall() + 500)
            await shop.finished(within=30)
            assert [(e.id, e.attempt, e.how) for e in diary.entries] == [(id_, 1, "done") for id_ in ("held", "new", "due")]
            assert [pool.starts(path) for path in PLACES] == [[1]] * len(PLACES)
            assert told(pool, "queue_away") == told(pool, "queue_back")
            assert all(2 < note["seconds"] < 7 for note in pool.notes("queue_back"))

    run_virtual(main)


@pytest.mark.parametrize("call", sorted(CALLS))
def test_a_single_call_that_is_refused_is_noted_once_however_often_the_others_are_answered(call):
    async def main():
        async with working(topics=("jobs", "mail"), slots=2) as (shop, diary, pool):
            await asyncio.sleep(1)
            pool.faults[0].forbidden = {call}
            for number in range(4):
                await shop.post(f"j{number}", topic=shop.topics[number % 2], seconds=1)
            await asyncio.sleep(TTL - 1)
            assert len(told(pool, "queue_away")) == 1
            assert told(pool, "queue_back") == []
            pool.heal()
            await shop.finished()
            await asyncio.sleep(WAIT + 1)  # what waits for a job has been answered then
            assert sorted(diary.ids("done")) == ["j0", "j1", "j2", "j3"]
            assert [pool.starts(path) for path in PLACES] == [[1]] * len(PLACES)
            assert len(told(pool, "queue_back")) == 1

    run_virtual(main)


def test_a_job_whose_lease_lapsed_meanwhile_is_given_up_and_runs_again():
    async def main():
        async with working(slots=1) as (shop, diary, pool):
            await shop.post("j", seconds=2 * TTL)
            await diary.begun()
            pool.faults[0].forbidden = CALLS
            await asyncio.sleep(TTL + 1)
            assert diary.ids("CancelledError") == ["j"]
            pool.heal()
            await shop.finished()
            assert [(e.attempt, e.how) for e in diary.entries] == [(1, "CancelledError"), (2, "done")]
            assert diary.overlaps == []

    run_virtual(main)


def test_a_stop_meanwhile_is_an_orderly_one():
    async def main():
        async with working() as (_shop, _diary, pool):
            await asyncio.sleep(1)
            pool.faults[0].forbidden = CALLS
            await asyncio.sleep(5)
            report = await pool.runtime.stop()
            assert report.forced == ()
            assert all(isinstance(exit_, Shutdown) for path in PLACES for exit_ in pool.exits(path))

    run_virtual(main)
