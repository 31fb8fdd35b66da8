"""A topic that gets more partitions in the log than its holder's configuration says (R1, R4, R14)."""

import asyncio

from support.relay_tree import LOCK, TOPIC, relaying, run

from forebay.actors.relay.campaign import lock_key
from forebay.backends.ports import TopicSpec


async def grow(services, partitions, names=(TOPIC,)):
    """As another process does whose configuration says so, or a person with the log's own tools."""
    services.partitions = partitions
    await services.log.ensure([TopicSpec(name, partitions, 1e9, 1 << 24) for name in names])


def test_the_holder_relays_partitions_that_it_was_not_configured_with_in_the_same_term_of_the_lock():
    async def main():
        async with relaying() as (services, a):
            await services.post(30)
            await services.until_relayed()
            await grow(services, 5)
            await services.post(100)
            await services.until_relayed(within=20.0)
            await services.check_relayed()
            services.check_once()
            assert a.notes("partitions_grown") == [
                {
                    "from_": 3,
                    "to": 5,
                    "advice": "set the topic's partitions to 5 in this process's configuration too: its gate fills only 3",
                }
            ]
            assert len(a.notes("term_begins")) == 1
            assert a.exits(LOCK) == []
            assert a.incidents() == []

    run(main)


def test_the_retry_lane_the_snapshots_and_the_ends_of_new_partitions_are_served_too():
    async def main():
        async with relaying() as (services, a):
            services.queue.poisons = {"0": 2, "1": 99}
            await grow(services, 5)
            await services.post(2, partition=4)
            assert await services.until_accounted_for() == {1}
            await asyncio.sleep(10.0)
            for name in ("settled", "ends"):
                connection = await services.log.connect(f"{TOPIC}.{name}")
                assert (await connection.extents())[4].end > 0
                await connection.close()
            assert a.notes("snapshot_refused") == a.notes("ends_refused") == []

    run(main)


def test_what_cannot_be_made_ready_is_noted_and_tried_again():
    async def main():
        async with relaying() as (services, a):
            a.prepare_fails = True
            await grow(services, 5)
            await services.post(10, partition=4)
            await asyncio.sleep(30.0)
            (noted,) = a.notes("partitions_left")
            assert (noted["from_"], noted["to"]) == (3, 5)
            assert "not today" in noted["why"]
            assert (await services.queue.counts(TOPIC)).pending == 0
            a.prepare_fails = False
            await services.until_relayed(within=20.0)
            assert len(a.notes("partitions_grown")) == 1

    run(main)


def test_a_holder_that_comes_after_it_learns_of_them_too():
    async def main():
        async with relaying(names=("a", "b")) as (services, a, b):
            await a.until_noted("term_begins")
            await grow(services, 5)
            await services.post(20)
            await services.until_relayed(within=20.0)
            await a.runtime.stop()
            await services.post(20)
            await services.until_relayed(within=20.0)
            await services.check_relayed()
            assert [(note["from_"], note["to"]) for note in b.notes("partitions_grown")] == [(3, 5)]

    run(main)


def test_a_lock_that_is_lost_just_then_harms_nothing():
    async def main():
        async with relaying() as (services, a):
            for partitions in (4, 5, 6):
                await grow(services, partitions)
                await a.until_noted("partitions_grown", partitions - 3)
                await services.coordination.delete(lock_key(TOPIC))
                await services.post(20)
                await services.until_relayed(within=60.0)
            await services.check_relayed()
            services.check_once()

    run(main)
