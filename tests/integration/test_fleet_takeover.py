"""Three runtimes, twelve topics of eight partitions: whatever becomes of a holder, the next takes its topics (R1-R4, R13).

Each test posts at least 10,000 jobs in at least 20 s, breaks something meanwhile and counts from journals: lost 0.
"""

import time

import pytest
import pytest_asyncio
from support.fleets import (
    LOCK,
    LOCK_DELAY,
    SETTINGS,
    SLACK,
    TAKEOVER,
    TTL,
    delete_key,
    ends,
    lost_nothing,
    refused,
    sound_fleet,
    under_load,
)
from support.live import eventually

from forebay.scenarios.fleet import Services

TOPICS = [f"take-{n}" for n in range(12)]

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory, kafka_broker, consul_server, redis):
    services = Services(kafka_broker.url, consul_server.port, {"main": redis.main.port, "other": redis.other.port})
    queues = ["main", "other"]
    topics = [{"name": name, "partitions": 8, "queue": queues[n % 2]} for n, name in enumerate(TOPICS)]
    members = {"one": {}, "two": {}, "three": {}}
    settings = {**SETTINGS, "lock": LOCK, "topics": topics}
    async with sound_fleet(tmp_path_factory.mktemp("fleet"), services, settings, members) as fleet:
        yield fleet


def busiest(fleet):
    """The member that holds the most topics, and which."""
    member = max(fleet.members.values(), key=lambda member: len(fleet.held_by(member)))
    return member, fleet.held_by(member)


def check(terms, since, victim, record_figure, how):
    """Another took each topic, in time."""
    took = max(term.at for term in terms) - since
    record_figure(f"takeover of {len(terms)} topics, holder {how}", round(took, 2), f"s (Consul's own wait: {TAKEOVER:g})")
    assert victim.name not in {term.member for term in terms}
    assert took < TAKEOVER + SLACK


async def test_the_topics_of_a_killed_holder_are_taken_over(fleet, record_figure):
    """R2."""
    async with under_load(fleet, "killed") as trial:
        victim, topics = busiest(fleet)
        since = time.time()
        await victim.kill()
        terms = await fleet.held(topics, since)
        await victim.start()
    check(terms, since, victim, record_figure, "killed")
    lost_nothing(trial, record_figure, "holder killed")


async def test_a_holder_that_slept_through_the_loss_of_its_lock_tries_to_write_and_is_refused(fleet, redis, record_figure):
    """R3: writes of the old term are on their way to Redis when it is stopped, and arrive when the next term has begun."""
    async with under_load(fleet, "stopped") as trial:
        victim, topics = busiest(fleet)
        before = await refused(redis.main, topics) + await refused(redis.other, topics)
        for way in fleet.ways[victim.name].redis.values():
            way.freeze()
        await trial.load.reach(trial.load.accepted + 50 * len(topics), 0)
        since = time.time()
        victim.pause()
        terms = await fleet.held(topics, since)
        for way in fleet.ways[victim.name].redis.values():
            way.heal()

        async def stale_writes_were_refused():
            return await refused(redis.main, topics) + await refused(redis.other, topics) > before

        await eventually(stale_writes_were_refused)
        victim.resume()
    check(terms, since, victim, record_figure, "stopped")
    after = await refused(redis.main, topics) + await refused(redis.other, topics)
    record_figure("writes of terms that were over, refused by Redis", after - before, "")
    lost_nothing(trial, record_figure, "holder stopped")


async def test_a_holder_that_is_cut_from_consul_ends_its_terms_before_another_begins(fleet, consul_server, record_figure):
    """R2, R3."""
    async with under_load(fleet, "cut") as trial:
        victim, topics = busiest(fleet)
        since = time.time()
        fleet.ways[victim.name].consul.cut()
        terms = await fleet.held(topics, since)
        fleet.ways[victim.name].consul.heal()
    check(terms, since, victim, record_figure, "cut from Consul")
    assert all(ends(victim, term.topic, since)[0] < term.at for term in terms)
    lost_nothing(trial, record_figure, "holder cut from Consul")


async def test_topics_whose_lock_keys_are_deleted_get_new_terms(fleet, consul_server, record_figure):
    """R2: the key's next life has a greater index, so the fence goes on growing."""
    async with under_load(fleet, "deleted") as trial:
        _, topics = busiest(fleet)
        old = {topic: fleet.terms(topic)[-1].token for topic in topics}
        since = time.time()
        for topic in topics:
            delete_key(consul_server.port, f"forebay/locks/{topic}")
        terms = await fleet.held(topics, since)
    took = max(term.at for term in terms) - since
    record_figure("new terms after the deletion of their lock keys", round(took, 2), f"s (Consul's own wait: {TAKEOVER:g})")
    assert took < TAKEOVER + SLACK
    assert all(term.token > old[term.topic] for term in terms)
    lost_nothing(trial, record_figure, "holder without its keys")


async def test_a_holder_that_is_stopped_in_order_is_succeeded_at_once(fleet, record_figure):
    """R2: it gives its locks back, so nobody waits for sessions and lock delays."""
    async with under_load(fleet, "asked to stop") as trial:
        victim, topics = busiest(fleet)
        since = time.time()
        await victim.terminate()
        gone = time.time()
        terms = await fleet.held(topics, since)
        await victim.start()
    after = max(term.at for term in terms) - gone
    record_figure(f"takeover of {len(terms)} topics, from the end of a holder asked to stop", round(after, 2), "s")
    assert after < TTL + LOCK_DELAY
    lost_nothing(trial, record_figure, "holder asked to stop")
