"""Two production runtimes while brokers and Consul fail under them (F2, F3, G1, G4, R1, R3, R4)."""

import asyncio
from collections import Counter

import pytest
from support.simulated import TOPIC, check_one_writer, loading, relaying, run, settled

from forebay.jobs.envelope import ID
from forebay.scenarios.simulation.book import Answer

JOBS = 150
LEADER = [{"name": TOPIC, "partitions": 3, "acks": "leader", "min_insync": 1}]


def nothing_lost(world, jobs=JOBS):
    assert len(world.book.ids(Answer.ACCEPTED)) == jobs
    assert world.book.unfinished() == []
    assert world.counts(TOPIC).unfinished == 0
    check_one_writer(world)


def only_copies_run_again(world):
    """What ran to its end twice is in the log twice: its client, or the producer, could not know of the first."""
    records = [record for partition in range(3) for record in world.kafka.records(TOPIC, partition)]
    copies = Counter(dict(record.headers)[ID].decode() for record in records)
    assert {id_ for id_, times in copies.items() if times > 1}.issuperset(world.book.repeated())


def under_load(strike, lost=0, **settings):
    """Let `strike` do its harm while jobs are posted and run; then all heals, and all but `lost` must come through."""

    async def main(world):
        posting = loading(world, JOBS)
        await world.until(lambda: world.book.finished.total() > JOBS // 5)
        await strike(world)
        for service in (world.kafka, world.consul):
            service.heal()
        await posting
        await asyncio.sleep(1)  # what only its leader has is no lag yet, as nobody can read it
        await world.until(lambda: len(world.book.unfinished()) <= lost and settled(world))

    return run(main, **settings)


# --- Kafka


def test_each_broker_is_killed_in_turn():
    async def strike(world):
        for broker in world.kafka.brokers:
            world.kafka.kill(broker)
            await asyncio.sleep(15)
            world.kafka.start(broker)
            await asyncio.sleep(5)

    world = under_load(strike)
    nothing_lost(world)
    assert world.kafka.counts["elections"] > 10
    assert world.kafka.counts["unclean_elections"] == 0


@pytest.mark.parametrize("seconds", [2.0, pytest.param(90.0, marks=pytest.mark.long)])
def test_the_whole_cluster_is_restarted(seconds):
    async def strike(world):
        world.kafka.restart(seconds)
        await asyncio.sleep(seconds + 15)

    nothing_lost(under_load(strike))


def test_leaders_move_while_records_come():
    async def strike(world):
        for turn in range(12):
            for partition in range(3):
                world.kafka.move_leader(TOPIC, partition, 1 + (turn + partition) % 3)
            await asyncio.sleep(0.15)

    world = under_load(strike)
    nothing_lost(world)
    only_copies_run_again(world)
    assert world.kafka.counts["elections"] > 24


def test_answers_of_the_log_break_and_only_jobs_that_were_posted_again_run_twice():
    async def strike(world):
        world.kafka.break_answers(0.3)
        await asyncio.sleep(20)

    world = under_load(strike)
    nothing_lost(world)
    assert world.kafka.network.broken > 0
    only_copies_run_again(world)


def test_a_holder_that_is_cut_off_from_kafka_goes_on_afterwards():
    async def strike(world):
        holder = await relaying(world)
        world.kafka.cut(holder)
        await asyncio.sleep(60)

    nothing_lost(under_load(strike))


@pytest.mark.parametrize("relayed", [True, False])
def test_an_unclean_election_loses_what_was_cut_and_no_more(relayed):
    """With acks of the leader alone. What was relayed before is not lost, and what took the places of the lost ones is
    relayed too (G4; docs/semantics.md, M10).
    """

    async def strike(world):
        kafka = world.kafka
        if not relayed:
            kafka.cut(await relaying(world))
        for broker in (2, 3):
            kafka.stop(broker)
        await asyncio.sleep(1)  # the first alone takes some
        kafka.kill(1)
        for broker in (2, 3):
            kafka.start(broker)
        await asyncio.sleep(10)
        kafka.set_unclean(True)

    world = under_load(strike, JOBS, topics=LEADER)
    missing = world.book.unfinished()
    assert len(world.book.ids(Answer.ACCEPTED)) == JOBS
    assert world.kafka.counts["cut"] > 0
    assert (len(missing) == 0) == relayed
    assert len(missing) <= world.kafka.counts["cut"]
    lost = [world.book.posts[id_] for id_ in missing]
    assert all(post.offset >= 0 and post.acks == "leader" for post in lost)


# --- Consul


def test_consul_is_away_for_longer_than_any_session_lives():
    async def strike(world):
        world.consul.down()
        await asyncio.sleep(120)

    nothing_lost(under_load(strike))


def test_every_session_of_the_holder_ends_at_once():
    async def strike(world):
        for _ in range(4):
            world.consul.expire(await relaying(world))
            await asyncio.sleep(10)

    world = under_load(strike)
    nothing_lost(world)
    assert world.consul.counts["expired"] > 0


def test_consul_is_set_up_anew_and_its_smaller_indexes_are_no_way_back():
    """The fence in Redis is higher than any token that a new Consul gives: the next term takes a new generation (R3)."""

    async def strike(world):
        world.consul.wipe()
        await asyncio.sleep(60)

    world = under_load(strike)
    nothing_lost(world)
    generations = {one.token[0] for one in world.redis["main"].written}
    assert generations == {0, 1}


def test_answers_of_consul_break():
    async def strike(world):
        world.consul.break_answers(0.4)
        await asyncio.sleep(60)

    world = under_load(strike)
    nothing_lost(world)
    assert world.consul.network.broken > 0
