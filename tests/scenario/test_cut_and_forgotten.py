"""A log that is cut, and a queue that forgets before the next snapshot says so (R4, R14, F3).

No new record at an old offset is taken for one that has ended.
"""

import asyncio
from random import Random

import pytest
from support.cut_log import CutLog
from support.effort import examples
from support.relay_tree import LOCK, TOPIC, relaying, run

from forebay.actors.relay.campaign import lock_key
from forebay.actors.relay.settled_marks import SNAPSHOT_INTERVAL
from forebay.backends.ports import Done, JobState, Lease, Want


async def pending(services):
    found, after = set(), ""
    while views := await services.queue.browse(TOPIC, JobState.PENDING, 1000, after):
        found |= {view.id for view in views}
        after = views[-1].id
    return found


async def in_log(services):
    """The ids of the records that the log holds now."""
    connection = await services.log.connect(TOPIC)
    found = set()
    for partition, extent in (await connection.extents()).items():
        at = extent.start
        while at < extent.end:
            for record in (await connection.fetch({partition: Want(at, 100)}, 1.0))[partition]:
                found.add(dict(record.headers)["forebay-id"].decode())
                at = record.offset + 1
    await connection.close()
    return found


async def cuttable(services, instance, tells):
    """The instance on a log that can be cut, from its second term on."""
    log = CutLog(services.log, TOPIC, tells)
    services.log = instance.log.port = log
    await services.coordination.delete(lock_key(TOPIC))
    await instance.until_started(LOCK, 2)
    return log


async def end(services, sequence, but=()):
    """End all that is pending; return the ids."""
    claims = await services.queue.claim(TOPIC, Lease("w", sequence, 1.0), 1000)
    await services.queue.end(TOPIC, "w", [Done(claim.id, claim.epoch) for claim in claims if claim.id not in but])
    return {claim.id for claim in claims} - set(but)


async def until_pending(services, wanted, within=200.0):
    async with asyncio.timeout(within):
        while not wanted <= await pending(services):
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("tells", [True, False], ids=["leaders tell", "leaders do not tell"])
@pytest.mark.parametrize("unended", [(), ("0",), ("30", "70")], ids=["all ended", "all but the first", "all but two"])
@pytest.mark.parametrize("more", [20, 43, 60], ids=["below the mark", "up to it", "beyond it"])
def test_records_at_the_places_of_those_that_had_ended_are_relayed(tells, unended, more):
    async def main():
        async with relaying(partitions=1, batch=10) as (services, a):
            log = await cuttable(services, a, tells)
            for _ in range(10):
                await services.post(10)
                await services.until_relayed()
            ended = await end(services, 1, unended)
            await asyncio.sleep(SNAPSHOT_INTERVAL + 1)
            await log.cut(0, 57)
            await services.forget(everything=True)
            await services.post(more)
            new = {str(number) for number in range(100, 100 + more)}
            await until_pending(services, new)
            await asyncio.sleep(100)
            again = await pending(services) - new
            assert {one for one in unended if int(one) < 57} <= again
            assert {int(one) for one in again & ended} <= set(range(40, 57)), "below what is as it was nothing comes again"

    run(main)


def test_a_log_that_is_cut_where_the_restored_queue_has_not_come_yet_is_noticed_too():
    async def main():
        async with relaying(partitions=1, batch=10, rate=20.0) as (services, a):
            log = await cuttable(services, a, tells=True)
            for _ in range(10):
                await services.post(10)
                await services.until_relayed()
            await end(services, 1, ("0",))
            await asyncio.sleep(SNAPSHOT_INTERVAL + 1)
            await services.forget(everything=True)
            await a.until_noted("restored")
            await log.cut(0, 57)
            assert (await services.marks()).get(0, 0) < 57
            await services.post(60)
            await until_pending(services, {str(number) for number in range(100, 160)})

    run(main)


def test_a_checkpoint_at_the_very_end_of_the_cut_log_holds_nothing_up():
    async def main():
        async with relaying(partitions=1, batch=10) as (services, a):
            log = await cuttable(services, a, tells=False)
            await services.post(30)
            await services.until_relayed()
            await end(services, 1, ("0", "5"))
            await asyncio.sleep(SNAPSHOT_INTERVAL + 1)
            await log.cut(0, 29)  # the newest checkpoint is of 29
            await services.forget(everything=True)
            await until_pending(services, {"0", "5"})

    run(main)


@pytest.mark.parametrize("seed", range(examples(4, 16)))
def test_whatever_is_cut_and_forgotten_every_record_that_has_not_ended_reaches_the_queue(seed):
    async def main():
        async with relaying(seed, batch=7) as (services, a):
            log = await cuttable(services, a, tells=True)
            random, ended = Random(seed), set()
            for turn in range(25):
                await services.post(random.randrange(1, 40), partition=random.randrange(3))
                await asyncio.sleep(random.choice((0.0, 0.01, 3.0, 8.0)))
                if random.random() < 0.5:
                    ended |= await end(
                        services, turn + 1, {str(n) for n in range(len(services.posted)) if random.random() < 0.1}
                    )
                if random.random() < 0.4:
                    partition = random.randrange(3)
                    extent = (await services.ends()).get(partition, 0)
                    await log.cut(partition, random.randrange(extent + 1))
                if random.random() < 0.25:
                    await services.forget(everything=True)
            wanted = await in_log(services) - ended
            async with asyncio.timeout(300):
                while True:
                    await services.queue.reap(TOPIC, 1000)
                    if wanted <= await pending(services):
                        return
                    await asyncio.sleep(1.0)

    run(main, seed=seed)
