"""Free slots and promises (no job without a slot; no queue takes another's share)."""

import asyncio

import pytest

from forebay.actors.work.slot_pool import FreeSlot, SlotPool


def pool_of(*paths, sharers=1):
    pool = SlotPool(sharers)
    for path in paths:
        pool.add(path, 1)
    return pool


async def test_slots_are_taken_longest_free_first():
    pool = pool_of("a", "b", "c")
    assert pool.take(2) == [FreeSlot("a", 1), FreeSlot("b", 1)]
    assert pool.take(2) == [FreeSlot("c", 1)]


async def test_a_slot_that_reports_twice_is_one_slot_and_the_newer_incarnation_counts():
    pool = pool_of("a")
    pool.add("a", 3)
    pool.add("a", 2)
    assert pool.take(5) == [FreeSlot("a", 3)]


@pytest.mark.parametrize(("sharers", "promises"), [(1, [4, 0]), (2, [2, 1, 1, 0]), (3, [2, 1, 1, 0])])
async def test_each_promise_is_at_most_a_share_of_what_is_left(sharers, promises):
    pool = pool_of("a", "b", "c", "d", sharers=sharers)
    assert [pool.promise(10) for _ in promises] == promises


async def test_a_promise_is_at_most_what_was_asked_for_and_comes_back():
    pool = pool_of("a", "b", "c")
    assert pool.promise(2) == 2
    pool.redeem(2)
    assert pool.promise(5) == 3


async def test_promises_over_what_is_left_promise_nothing():
    pool = pool_of("a", "b")
    assert pool.promise(2) == 2
    pool.take(1)
    assert pool.promise(2) == 0


async def test_vacancy_is_a_free_slot_that_is_not_promised():
    pool = pool_of("a")
    waiting = asyncio.ensure_future(pool.vacancy())
    await asyncio.sleep(0)
    assert waiting.done()
    promised = pool.promise(1)
    waiting = asyncio.ensure_future(pool.vacancy())
    await asyncio.sleep(0)
    assert not waiting.done()
    pool.redeem(promised)
    await waiting
