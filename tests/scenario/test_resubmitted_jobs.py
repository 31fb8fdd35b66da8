"""A dead job that a person submits again keeps its dedup id, by whichever way it comes back (Q1, R6)."""

import asyncio

import pytest
from support.relay_tree import TOPIC, relaying, run

from forebay.actors.relay.ends_writer import LOOK
from forebay.actors.watch.repairs import Repairs
from forebay.backends.ports import Acks, Dead, Done, JobState, Lease, NewRecord
from forebay.config import TopicConfig
from forebay.jobs import JobPost, encode

DEDUP = "the same work"


async def post(services, id_):
    value, headers = encode(JobPost(type="t", dedup=DEDUP), id_=id_, enqueued_at=0)
    await services.log.append([NewRecord(TOPIC, 0, value, headers=headers)], Acks.LEADER)
    await asyncio.sleep(5)


async def die(services):
    (claim,) = await claimed(services, 1)
    await services.queue.end(TOPIC, "w", [Dead(claim.id, claim.epoch, "why")])


async def claimed(services, sequence):
    return await services.queue.claim(TOPIC, Lease("w", sequence, 1e9), 100)


async def pending(services):
    return [view.id for view in await services.queue.browse(TOPIC, JobState.PENDING, 100)]


def dead_and_submitted_again(then, *, delay, before=None):
    async def main():
        async with relaying() as (services, a):
            await post(services, "first")
            await die(services)
            await asyncio.sleep(delay)
            if before is not None:
                await before(services)
            repairs = Repairs(a.log, {TOPIC: services.queue}, [TopicConfig(TOPIC, partitions=3)])
            assert await repairs.resubmit(TOPIC, ["first"]) == (1, {})
            await asyncio.sleep(5)
            await then(services)

    run(main)


@pytest.mark.parametrize("delay", [0.0, 3 * LOOK], ids=["not yet in the log", "its end is in the log"])
def test_another_with_its_dedup_id_is_dropped_while_it_is_pending(delay):
    async def then(services):
        await post(services, "second")
        assert await pending(services) == ["first"]

    dead_and_submitted_again(then, delay=delay)


@pytest.mark.parametrize("delay", [0.0, 3 * LOOK], ids=["not yet in the log", "its end is in the log"])
def test_another_with_its_dedup_id_runs_after_it_when_it_is_in_flight(delay):
    async def then(services):
        (claim,) = await claimed(services, 2)
        await post(services, "second")
        assert await pending(services) == []
        await services.queue.end(TOPIC, "w", [Done(claim.id, claim.epoch)])
        assert await pending(services) == ["second"]

    dead_and_submitted_again(then, delay=delay)


def test_one_whose_end_is_in_the_log_is_a_duplicate_where_another_with_its_dedup_id_is_pending():
    async def before(services):
        await post(services, "second")

    async def then(services):
        assert await pending(services) == ["second"]
        assert (await services.queue.counts(TOPIC)).dead == 0
        await services.check_marks()

    dead_and_submitted_again(then, delay=3 * LOOK, before=before)
