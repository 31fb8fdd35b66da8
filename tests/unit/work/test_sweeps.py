"""Scheduler and reaper: due jobs move in time, and an idle queue is left alone (Q2, Q5, Q6)."""

import asyncio

import pytest
from support.work_tree import TTL, working

from forebay.actors.work.sweep import Pace
from forebay.scenarios.virtual import run_virtual


@pytest.mark.parametrize(("due", "seconds"), [(None, 2.0), (1000, 0.5), (1300, 0.5), (1700, 0.7), (9000, 2.0)])
def test_the_pace_follows_the_next_due_within_its_bounds(due, seconds):
    assert Pace(0.5, 2.0).until(due, 1000) == pytest.approx(seconds)


@pytest.mark.parametrize("bounds", [(0, 1), (2, 1), (-1, 1)])
def test_a_pace_that_makes_no_sense_is_refused(bounds):
    with pytest.raises(ValueError, match="shortest"):
        Pace(*bounds)


def test_a_delayed_job_starts_when_it_is_due():
    async def main():
        async with working() as (shop, diary, pool):
            clock = pool.runtime.system.clock
            await asyncio.sleep(5)
            await shop.post("soon", not_before=clock.wall() + 300)
            await shop.post("late", not_before=clock.wall() + 7500)
            await shop.finished()
            begun = {entry.id: entry.begun for entry in diary.entries}
            assert 5.3 <= begun["soon"] <= 6.0  # it came after the last look: at most the longest pace late
            assert 12.5 <= begun["late"] <= 12.52

    run_virtual(main)


def test_more_than_one_calls_worth_of_due_jobs_moves_at_once():
    async def main():
        async with working(slots=50) as (shop, diary, pool):
            due = pool.runtime.system.clock.wall() + 2000
            for number in range(1500):
                await shop.post(f"j{number}", not_before=due)
            await shop.finished()
            assert len(diary.ids("done")) == 1500
            assert [note["count"] for note in pool.notes("promoted")][:2] == [1000, 500]
            assert max(entry.begun for entry in diary.entries) < 3

    run_virtual(main)


def test_jobs_of_a_worker_that_vanished_run_elsewhere_after_its_lease():
    async def main():
        async with working(names=("a", "b"), slots=2) as (shop, diary, a, b):
            await shop.post("j", seconds=60)
            while not diary.entries:
                await asyncio.sleep(0.01)
            held, other = (a, b) if a.calls("renew") else (b, a)
            held.faults[0].down = True
            await asyncio.sleep(TTL + 2)
            first, second = diary.of("j")
            assert (first.how, second.attempt) == ("CancelledError", 2)
            assert TTL - 3.1 <= second.begun <= TTL + 2
            held.heal()
            await shop.finished()
            assert second.how == "done"
            assert sum(note["count"] for note in other.notes("reaped")) == 1

    run_virtual(main)


def test_sweeping_goes_on_after_an_outage():
    async def main():
        async with working() as (shop, diary, pool):
            pool.faults[0].down = True
            await shop.post("j", not_before=pool.runtime.system.clock.wall() + 1000)
            await asyncio.sleep(60)
            assert diary.entries == []
            pool.heal()
            await asyncio.sleep(3)
            assert diary.ids("done") == ["j"]

    run_virtual(main)
