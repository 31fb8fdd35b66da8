"""Redis dies, forgets, falls behind and fills up under load, and nothing accepted is lost (R4, R5, R8, R14, Q4, F4).

Two runtimes take and relay jobs, a third one runs them. Each test posts at least 10,000 jobs in at least 20 s. The Redis
servers are this module's own; the last test leaves them with their roles exchanged.
"""

import asyncio
import time

import pytest
import pytest_asyncio
from support.effort import LONG
from support.fleets import SETTINGS, WORKERS, lost_nothing, sound_fleet, under_load
from support.live import eventually

from forebay.backends.redis.codec import prefix
from forebay.scenarios.fleet import Services

QUEUES = {"redis-a": "main", "redis-b": "main", "redis-c": "other"}
ON_MAIN = ["redis-a", "redis-b"]
AWAY = 60.0 if LONG else 10.0
INSIDE = 4_000
SNAPSHOTS = 10.0  # seconds: two intervals between the relay's snapshots of what has ended

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory, kafka_broker, consul_server, redis):
    services = Services(kafka_broker.url, consul_server.port, {"main": redis.main.port, "other": redis.other.port})
    topics = [{"name": name, "partitions": 4, "queue": queue} for name, queue in QUEUES.items()]
    members = {"one": {"workers": False}, "two": {"workers": False}, "workers": {"gate": False}}
    settings = {**SETTINGS, "workers": {**WORKERS, "slots": 100}, "topics": topics}
    async with sound_fleet(tmp_path_factory.mktemp("fleet"), services, settings, members) as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def healed(fleet, redis):
    """However a test ends, the next one finds Redis up and without a limit, and workers."""
    yield
    await redis.main.start()
    await redis.main.limit_memory(0)
    if not fleet.members["workers"].alive:
        await fleet.members["workers"].start()


async def inside(server):
    """Jobs in a Redis, whatever their state."""
    async with server.client() as client:
        return sum([await client.hlen(f"{prefix(topic)}states") for topic in QUEUES])


async def holds(server, number):
    """Wait until so many jobs are in a Redis."""

    async def enough():
        return await inside(server) >= number

    await eventually(enough, 120)


async def test_a_redis_that_is_away_is_waited_for_and_the_topic_on_another_one_does_not_notice(fleet, redis, record_figure):
    """R5: the gate goes on accepting, the lag is in the log; nobody has to act when Redis is back."""
    async with under_load(fleet, "away") as trial:
        await redis.main.kill()
        since, before = time.monotonic(), trial.account.lag()
        posted = trial.account.accepted()
        while time.monotonic() < since + AWAY:
            await asyncio.sleep(0.2)
            lag = trial.account.lag()
        posted = trial.account.accepted() - posted
        await redis.main.start()
    record_figure(f"lag after {AWAY:g} s without its Redis", lag["redis-a"], f"jobs; on the other Redis {lag['redis-c']}")
    assert all(lag[topic] - before[topic] >= 0.9 * posted[topic] > 0 for topic in ON_MAIN)
    assert lag["redis-c"] <= posted["redis-c"] / 4
    lost_nothing(trial, record_figure, f"Redis away for {AWAY:g} s")


async def test_a_redis_replaced_by_an_empty_one_gets_its_unfinished_jobs_again(fleet, redis, record_figure):
    """R14: thousands were inside; what had ended before the last snapshot does not run again."""
    async with under_load(fleet, "emptied", ON_MAIN) as trial:
        await fleet.members["workers"].terminate()
        ended = trial.account.finished()
        await trial.load.reach(trial.load.accepted + INSIDE, trial.load.seconds + SNAPSHOTS)
        await holds(redis.main, INSIDE)
        forgotten = await inside(redis.main)
        await redis.main.wipe()
        await redis.main.start()
        await fleet.members["workers"].start()
    record_figure("jobs in the Redis that was replaced by an empty one", forgotten, "")
    lost_nothing(trial, record_figure, "Redis emptied")
    assert trial.ledger.duplicates & ended == frozenset()


async def test_a_full_redis_crashes_nobody_and_drains_itself_when_workers_come_back(fleet, redis, record_figure):
    """Q4, R5, R8: the outage that all of this is about. The limit stays as it is; nobody acts."""
    async with under_load(fleet, "full", ON_MAIN, args={"pad": "x" * 500}) as trial:
        await fleet.members["workers"].terminate()
        await holds(redis.main, INSIDE)
        async with redis.main.client() as client:
            limit = (await client.info("memory"))["used_memory"]
        await redis.main.limit_memory(limit)
        held = await inside(redis.main)
        await trial.load.reach(trial.load.accepted + 1_000, 0)
        record_figure("jobs in a Redis that is full", held, f"and {await inside(redis.main)} when 1,000 more were accepted")
        assert await inside(redis.main) <= held + 100
        await fleet.members["workers"].start()
    lost_nothing(trial, record_figure, "Redis full")


async def test_a_failover_to_a_replica_that_lags_loses_nothing(fleet, redis, record_figure):
    """R14, F4: the replica knows nothing of the last seconds; their jobs come again from the log, and only theirs."""
    async with under_load(fleet, "failed over", ON_MAIN) as trial:
        ended = trial.account.finished()
        await trial.load.reach(0, trial.load.seconds + 2)  # by now both Redis know what handlers have done
        await redis.replica.promote()  # from here on it stands still
        await trial.load.reach(trial.load.accepted + 1_000, trial.load.seconds + 2)
        await redis.main.kill()
        fleet.redirect("main", redis.replica.port)
    lost_nothing(trial, record_figure, "Redis failed over")
    assert trial.ledger.duplicates & ended == frozenset()
