"""A queue that forgot everything, or its newest jobs, gets what had not ended from the log again (R14, R4, Q6)."""

import asyncio
from random import Random

import pytest
from support.relay_tree import LOCK, TOPIC, relaying, run

from forebay.actors.relay.ends_writer import LOOK
from forebay.actors.relay.partition_consumer import LOOK_AGAIN
from forebay.actors.relay.settled_marks import SNAPSHOT_INTERVAL
from forebay.actors.relay.snapshots import KEYS, Snapshot, encode
from forebay.actors.watch.ended import newest_ends
from forebay.actors.watch.repairs import Repairs
from forebay.backends.errors import Unavailable
from forebay.backends.ports import Acks, Dead, Done, JobState, Lease, NewRecord, Token
from forebay.backends.settled import Settled
from forebay.config import TopicConfig
from forebay.jobs.lanes import ends_topic, settled_topic


async def work(services, count, sequence):
    """Claim so many and end every second one of them; return the ids that ended, the others stay in flight."""
    claims = await services.queue.claim(TOPIC, Lease("w", sequence, 1e9), count)
    await services.queue.end(TOPIC, "w", [Done(claim.id, claim.epoch) for claim in claims[::2]])
    return {claim.id for claim in claims[::2]}


async def all_pending(services):
    found, after = set(), ""
    while views := await services.queue.browse(TOPIC, JobState.PENDING, 1000, after):
        found |= {view.id for view in views}
        after = views[-1].id
    return found


def test_what_had_not_ended_comes_again_and_what_had_by_the_last_snapshot_does_not():
    async def main():
        async with relaying() as (services, a):
            await services.post(300)
            await services.until_relayed()
            ended = await work(services, 200, 1)
            await asyncio.sleep(SNAPSHOT_INTERVAL + 1)
            late = await work(services, 50, 2)
            await services.forget(everything=True)
            await a.until_started(LOCK, 2)
            await services.post(50)
            await a.until_noted("restored", 3)
            every = {str(number) for number in range(350)}
            while len(await all_pending(services)) < 350 - len(ended):
                await asyncio.sleep(0.1)
            await asyncio.sleep(60)
            assert await all_pending(services) == every - ended
            assert late  # they ended after the snapshot, and come twice
            assert len(a.notes("restored")) == 3

    run(main)


def test_an_empty_queue_is_noticed_although_nothing_new_comes():
    async def main():
        async with relaying() as (services, a):
            await services.post(30)
            await services.until_relayed()
            await services.forget(everything=True)
            begun = asyncio.get_running_loop().time()
            await services.until_relayed()
            assert asyncio.get_running_loop().time() - begun < 2 * LOOK_AGAIN
            await services.check_relayed()
            assert len(a.exits(LOCK)) == 1

    run(main)


def test_a_queue_that_lost_its_newest_jobs_gets_them_again_although_nothing_new_comes():
    """As a replica that was behind when it became the primary: its fence and its marks are older."""

    async def main():
        async with relaying(partitions=1) as (services, a):
            await services.post(30)
            await services.until_relayed()

            def lose(connection):
                connection.execute("DELETE FROM jobs WHERE offset >= 10")
                connection.execute("UPDATE marks SET next = 10")
                connection.execute("DELETE FROM checkpoints WHERE offset >= 10")

            await services.embedded.queue()._database.run(lose)
            begun = asyncio.get_running_loop().time()
            await services.until_relayed()
            assert asyncio.get_running_loop().time() - begun < 2 * LOOK_AGAIN
            await services.check_relayed()
            assert a.notes("rewound") == [{"partition": 0, "from_": 30, "to": 10}]
            assert a.exits(LOCK) == []

    run(main)


def test_an_ended_terms_late_snapshot_only_brings_jobs_again():
    async def main():
        async with relaying() as (services, a):
            await services.post(60)
            await services.until_relayed()
            await work(services, 60, 1)
            await asyncio.sleep(SNAPSHOT_INTERVAL + 1)
            late = encode(Snapshot(Token(0, 1), {0: Settled(0)}))
            await services.log.append([NewRecord(settled_topic(TOPIC), 0, late, KEYS[0])], Acks.LEADER)
            await services.forget(everything=True)
            await a.until_noted("restored", 3)
            while (await services.queue.counts(TOPIC)).pending < 40:  # all 20 of partition 0, half of the others
                await asyncio.sleep(0.1)
            await asyncio.sleep(60)
            assert (await services.queue.counts(TOPIC)).pending == 40

    run(main)


async def end_badly(services, sequence, count):
    """Let so many jobs die, and park as many records; return the ids of both."""
    before = {view.id for view in await services.queue.browse(TOPIC, JobState.PARKED, 1000)}
    bad = [NewRecord(TOPIC, n % 3, b"no job") for n in range(count)]
    await services.log.append(bad, Acks.LEADER)
    claims = await services.queue.claim(TOPIC, Lease("w", sequence, 1e9), count)
    await services.queue.end(TOPIC, "w", [Dead(claim.id, claim.epoch, "why") for claim in claims])
    while len(parked := {v.id for v in await services.queue.browse(TOPIC, JobState.PARKED, 1000)} - before) < count:
        await asyncio.sleep(0.01)
    return {claim.id for claim in claims}, parked


def test_dead_and_parked_ones_that_were_written_do_not_come_again_and_the_others_do():
    """Of what was written, and ended before the last snapshot, nothing comes again; of the rest nothing is lost (R14)."""

    async def main():
        async with relaying() as (services, a):
            await services.post(60)
            await services.until_relayed()
            dead, parked = await end_badly(services, 1, 12)
            await asyncio.sleep(LOOK + SNAPSHOT_INTERVAL + 1)
            append = a.log.append

            async def refuse_ends(records, acks):
                if records[0].topic == ends_topic(TOPIC):
                    raise Unavailable("not these")
                return await append(records, acks)

            a.log.append = refuse_ends
            late_dead, late_parked = await end_badly(services, 2, 9)
            await asyncio.sleep(2 * SNAPSHOT_INTERVAL)  # snapshots go on meanwhile
            await services.forget(everything=True)
            a.log.append = append
            await a.until_started(LOCK, 2)
            every = {str(number) for number in range(60)}
            while await all_pending(services) != every - dead:
                await asyncio.sleep(0.1)
            await asyncio.sleep(60)
            assert await all_pending(services) == every - dead
            assert late_dead < every - dead
            views = await services.queue.browse(TOPIC, JobState.PARKED, 1000)
            assert {view.id for view in views} == late_parked
            ends = await newest_ends(services.log, TOPIC, 1000)
            assert dead | parked | late_parked <= {end.id for end in ends}

    run(main)


@pytest.mark.parametrize(
    "delay", [0.0, LOOK / 2, LOOK + SNAPSHOT_INTERVAL + 1], ids=["unwritten", "maybe written", "written"]
)
@pytest.mark.parametrize("seed", range(3))
def test_a_dead_job_that_a_person_submitted_again_is_not_lost_when_the_queue_forgets(seed, delay):
    """R14, R6: also when its end was in the log and settled long before."""

    async def main():
        async with relaying(seed) as (services, a):
            await services.post(12)
            await services.until_relayed()
            claims = await services.queue.claim(TOPIC, Lease("w", 1, 1e9), 12)
            await services.queue.end(TOPIC, "w", [Dead(claim.id, claim.epoch, "why") for claim in claims])
            await asyncio.sleep(delay)
            ids = sorted(claim.id for claim in claims)[:5]
            repairs = Repairs(a.log, {TOPIC: services.queue}, [TopicConfig(TOPIC, partitions=3)])
            assert await repairs.resubmit(TOPIC, ids) == (5, {})
            await asyncio.sleep(Random(seed).choice((0.0, 0.5, 20.0)))
            await services.forget(everything=True)
            await a.until_started(LOCK, 2)
            async with asyncio.timeout(100):
                while not set(ids) <= await all_pending(services):
                    await asyncio.sleep(0.1)
            await asyncio.sleep(60)
            assert (
                sorted(await all_pending(services)) == sorted(ids)
                if delay > LOOK
                else set(ids) <= await all_pending(services)
            )

    run(main)


def test_a_dead_job_that_a_person_submitted_again_runs_once_when_nothing_forgets():
    async def main():
        async with relaying() as (services, a):
            await services.post(12)
            await services.until_relayed()
            repairs = Repairs(a.log, {TOPIC: services.queue}, [TopicConfig(TOPIC, partitions=3)])
            for sequence, delay in enumerate((0.0, LOOK / 2, LOOK, 3 * LOOK), 1):
                claims = await services.queue.claim(TOPIC, Lease("w", sequence, 1e9), 100)
                assert sorted(claim.id for claim in claims) == sorted(map(str, range(12)))
                assert {claim.attempt for claim in claims} == {1}
                assert {claim.args for claim in claims} == {b"%d" % number for number in range(12)}
                await services.queue.end(TOPIC, "w", [Dead(claim.id, claim.epoch, "why") for claim in claims])
                await asyncio.sleep(delay)
                assert await repairs.resubmit(TOPIC, sorted(claim.id for claim in claims)) == (12, {})
                async with asyncio.timeout(100):
                    while len(await all_pending(services)) < 12:
                        await asyncio.sleep(0.1)
                await asyncio.sleep(20)
            assert (await services.queue.counts(TOPIC)).pending == 12
            assert (await services.queue.counts(TOPIC)).dead == 0

    run(main)
