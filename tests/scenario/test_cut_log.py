"""A log that is cut below the mark and filled again, relayed by the tree on virtual time (R4, F3)."""

import asyncio
from random import Random

import pytest
from support.cut_log import CutLog
from support.relay_tree import LOCK, TOPIC, relaying, run

from forebay.actors.relay.campaign import lock_key
from forebay.actors.relay.partition_consumer import CHECK_INTERVAL, LOOK_AGAIN
from forebay.backends.ports import Want


async def records(services):
    """Every record that the log holds now: its id and its place."""
    connection = await services.log.connect(TOPIC)
    found = {}
    for partition, extent in (await connection.extents()).items():
        at = extent.start
        while at < extent.end:
            for record in (await connection.fetch({partition: Want(at, 100)}, 1.0))[partition]:
                found[dict(record.headers)["forebay-id"].decode()] = (partition, record.offset)
                at = record.offset + 1
    await connection.close()
    return found


async def until_all_are_relayed(services, within=200.0):
    """Wait until every record of the log is in the queue, held at its own place, and the marks stand at its ends."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        there, wanted = await services.relayed(), await records(services)
        ends = {partition: mark for partition, mark in (await services.marks()).items() if mark}
        if wanted.items() <= there.items() and ends == {p: e for p, e in (await services.ends()).items() if e}:
            return
        assert asyncio.get_running_loop().time() < deadline, (wanted.items() - there.items(), ends, await services.ends())
        await asyncio.sleep(1.0)


def cut_log(services, instance, tells=True):
    log = CutLog(services.log, TOPIC, tells)
    services.log = instance.log.port = log
    return log


async def new_term(services, instance):
    since = len(instance.history())
    await services.coordination.delete(lock_key(TOPIC))
    await instance.until_started(LOCK, 2)
    assert len(instance.history()) > since


@pytest.mark.parametrize("noticed", ["by the next leader's record", "at the start of a term", "while nothing comes"])
def test_a_log_that_was_cut_and_filled_again_beyond_the_mark_is_relayed_from_where_it_differs(noticed):
    async def main():
        async with relaying(batch=10) as (services, a):
            log = cut_log(services, a, tells="leader" in noticed)
            await new_term(services, a)  # through the log that can be cut
            for _ in range(10):
                await services.post(10, partition=0)
                await services.until_relayed()
            await log.cut(0, 57)
            await services.post(60 if log.tells else 43, partition=0)  # beyond the mark, or up to it
            if "start" in noticed:
                await services.coordination.delete(lock_key(TOPIC))
            elif "nothing" in noticed:
                await asyncio.sleep(CHECK_INTERVAL + 2 * LOOK_AGAIN)
            await until_all_are_relayed(services)
            (diverged,) = a.notes("diverged")
            assert diverged["mark"] == 100
            assert 40 <= diverged["to"] <= 57
            assert len(await services.relayed()) == len(services.posted)  # what the cut took is in the queue: none is lost

    run(main)


def test_a_log_that_ends_below_the_mark_is_gone_back_in_at_once():
    async def main():
        async with relaying(batch=10) as (services, a):
            log = cut_log(services, a)
            await new_term(services, a)
            for _ in range(10):
                await services.post(10, partition=0)
                await services.until_relayed()
            await log.cut(0, 30)
            await a.until_noted("diverged")
            assert a.notes("truncated") == [{"partition": 0, "mark": 100, "end": 30}]
            (diverged,) = a.notes("diverged")
            assert diverged["mark"] == 100
            assert diverged["to"] <= 30
            await services.post(5, partition=0)
            await until_all_are_relayed(services)

    run(main)


def test_another_leader_alone_takes_nothing_back_and_is_looked_at_once():
    async def main():
        async with relaying(batch=10) as (services, a):
            log = cut_log(services, a)
            await new_term(services, a)
            await services.post(50, partition=0)
            await services.until_relayed()
            await log.cut(0, 50)  # a clean election: nothing is lost
            located = a.queue.calls["marks"]
            await services.post(50, partition=0)
            await services.until_relayed()
            await services.check_relayed()
            services.check_once()
            assert a.notes("diverged") == []
            assert a.queue.calls["marks"] - located == 1

    run(main)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_cut_every_record_that_the_log_holds_reaches_the_queue(seed):
    async def main():
        async with relaying(seed, batch=7) as (services, a):
            log = cut_log(services, a)
            await new_term(services, a)
            random = Random(seed)
            for _ in range(25):
                await services.post(random.randrange(1, 40), partition=random.randrange(3))
                await asyncio.sleep(random.choice((0.0, 0.01, 3.0)))
                if random.random() < 0.4:
                    partition = random.randrange(3)
                    extent = (await services.ends()).get(partition, 0)
                    await log.cut(partition, random.randrange(extent + 1))
                if random.random() < 0.1:
                    await services.coordination.delete(lock_key(TOPIC))
            await until_all_are_relayed(services)

    run(main, seed=seed)
