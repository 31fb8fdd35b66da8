"""Claims and assignments (Q5, Q6; a dispatcher's crash touches no handler)."""

import asyncio

import pytest
from support.work_tree import DISPATCHER, KEEPER, TTL, slot, working

from forebay.actors.waiting import until
from forebay.scenarios.virtual import crash, run_virtual


def test_a_crash_interrupts_no_handler_and_raises_no_other_incarnation_than_its_followers():
    async def main():
        async with working(slots=3) as (shop, diary, pool):
            for number in range(3):
                await shop.post(f"j{number}", seconds=10)
            await diary.begun(3)
            await crash(pool.runtime, DISPATCHER)
            await shop.post("next")
            await shop.finished()
            assert [(e.attempt, e.how) for e in diary.entries] == [(1, "done")] * 4
            assert {path: pool.starts(path)[-1] for path in (KEEPER, slot(0), DISPATCHER)} == {
                KEEPER: 1,
                slot(0): 1,
                DISPATCHER: 2,
            }

    run_virtual(main)


@pytest.mark.parametrize("crashes", [1, 5])
def test_a_new_dispatcher_uses_every_free_slot(crashes):
    async def main():
        async with working(slots=4) as (shop, diary, pool):
            await shop.post("long", seconds=50)
            await diary.begun()
            for _ in range(crashes):
                await crash(pool.runtime, DISPATCHER)
                await asyncio.sleep(1)
            for number in range(10):
                await shop.post(f"j{number}", seconds=10)
            await diary.begun(4)
            assert len(diary.running) == 4
            await shop.finished()
            assert [e.attempt for e in diary.entries] == [1] * 11

    run_virtual(main)


def test_jobs_of_a_claim_whose_answer_was_lost_are_run_with_their_first_attempt():
    async def main():
        async with working(slots=2) as (shop, diary, pool):
            await asyncio.sleep(1)
            pool.faults[0].lose = 1.0
            for number in range(6):
                await shop.post(f"j{number}", seconds=1)
            await shop.claimed()
            await crash(pool.runtime, DISPATCHER)
            await asyncio.sleep(1)
            assert diary.entries == []
            taken = await shop.leased()
            pool.heal()
            await shop.finished()
            assert [(e.attempt, e.how) for e in diary.entries] == [(1, "done")] * 6
            assert pool.recorded("release") == taken > 0  # of unknown age, so it went back rather than on to a slot

    run_virtual(main)


def test_what_a_lost_claim_took_goes_back_even_when_no_slot_is_free():
    """Another pool can run it at once, instead of when a slot of this one is free again."""

    async def main():
        async with working(names=("a", "b"), topics=("jobs", "mail"), slots=1) as (shop, diary, a, b):
            b.faults[0].down = True
            await asyncio.sleep(2)
            a.faults[0].lose = 1.0
            await shop.post("j", topic="jobs", seconds=1000)
            await shop.post("m", topic="mail", seconds=1000)
            await shop.claimed()
            a.heal()
            await diary.begun()
            b.heal()
            await asyncio.sleep(10)
            assert sorted((e.id, e.attempt) for e in diary.entries) == [("j", 1), ("m", 1)]

    run_virtual(main)


def test_an_idle_dispatcher_waits_and_does_not_poll():
    async def main():
        async with working(topics=("jobs", "mail", "bills"), slots=50) as (_, _, pool):
            await asyncio.sleep(3600)
            assert pool.calls("wait") <= 3600 / 60 + 2
            assert pool.calls("claim") <= 3 * (3600 / 60 + 3)

    run_virtual(main)


def test_adding_slots_adds_no_calls():
    async def calls(slots):
        async with working(slots=slots) as (_, _, pool):
            await asyncio.sleep(600)
            return {name: pool.calls(name) for name in ("claim", "wait", "renew", "end")}

    assert run_virtual(calls, 1) == run_virtual(calls, 100)


def test_with_no_free_slot_nothing_is_asked_of_the_queue():
    async def main():
        async with working(slots=2) as (shop, diary, pool):
            for number in range(10):
                await shop.post(f"j{number}", seconds=300)
            await diary.begun(2)
            before = pool.calls("claim"), pool.calls("wait")
            await asyncio.sleep(250)
            assert (pool.calls("claim"), pool.calls("wait")) == before

    run_virtual(main)


def test_a_job_starts_as_soon_as_it_is_written():
    async def main():
        async with working(slots=1) as (shop, diary, _):
            await asyncio.sleep(1234.5)
            await shop.post("j")
            await shop.finished()
            assert diary.entries[0].begun == 1234.5

    run_virtual(main)


def test_topics_take_turns():
    async def main():
        async with working(topics=("jobs", "mail"), slots=1) as (shop, diary, _):
            for number in range(20):
                await shop.post(f"j{number}", topic="jobs", seconds=1)
            for number in range(5):
                await shop.post(f"m{number}", topic="mail", seconds=1)
            await shop.finished()
            first = [e.id[0] for e in diary.entries[:10]]
            assert first.count("m") >= 4

    run_virtual(main)


@pytest.mark.parametrize("fault", ["down", "silent"])
def test_a_queue_that_is_away_holds_up_no_other(fault):
    async def main():
        async with working(topics=("jobs", "mail"), queues=2, slots=2) as (shop, diary, pool):
            await shop.post("j", topic="jobs")
            await shop.finished()
            setattr(pool.faults[0], fault, True)
            for number in range(20):
                await shop.post(f"j{number}", topic="jobs", seconds=1)
                await shop.post(f"m{number}", topic="mail", seconds=1)
            await asyncio.sleep(60)
            assert sum(e.id.startswith("m") for e in diary.entries if e.how == "done") == 20
            pool.heal()
            await shop.finished()
            assert len({e.id for e in diary.entries if e.how == "done"}) == 41

    run_virtual(main)


def test_never_more_jobs_are_held_than_there_are_slots():
    async def main():
        async with working(topics=("jobs", "mail"), queues=2, slots=3) as (shop, diary, _):
            for number in range(30):
                await shop.post(f"j{number}", topic=("jobs", "mail")[number % 2], seconds=1)
            most = 0
            while len(diary.ids("done")) < 30:
                await asyncio.sleep(0.25)
                most = max(most, await shop.leased())
            assert most == 3

    run_virtual(main)


class Sent:
    """A queue whose claims are on their way for a tenth of a second, and arrive even if nobody waits for the answer."""

    def __init__(self, queue):
        self.queue = queue

    def __getattr__(self, name):
        return getattr(self.queue, name)

    async def claim(self, topic, lease, limit):
        async def arrive():
            await asyncio.sleep(0.1)
            return await self.queue.claim(topic, lease, limit)

        arriving = asyncio.ensure_future(arrive())
        await until(arriving)
        return arriving.result()


def test_a_stop_waits_for_the_claim_that_is_on_its_way():
    async def main():
        async with working(slots=1, wrap=Sent) as (shop, diary, pool):
            await asyncio.sleep(1)
            await shop.post("j", seconds=100)
            await asyncio.sleep(0.05)
            report = await pool.runtime.stop()
            await asyncio.sleep(1)
            assert report.forced == ()
            assert diary.entries == []
            assert await shop.leased() == 0

    run_virtual(main)


class Late(Sent):
    """A queue whose first claim of a job is answered when its lease has lapsed."""

    late = False

    async def claim(self, topic, lease, limit):
        claims = await self.queue.claim(topic, lease, limit)
        if claims and not self.late:
            self.late = True
            await asyncio.sleep(lease.ttl)
        return claims


def test_a_job_whose_lease_has_lapsed_before_the_answer_came_is_not_begun():
    async def main():
        async with working(slots=1, wrap=Late) as (shop, diary, pool):
            await shop.post("j", seconds=1)
            await shop.finished()
            assert [e.how for e in diary.entries] == ["done"]
            assert diary.entries[0].begun >= TTL
            assert pool.notes("lease_lost") == []

    run_virtual(main)
