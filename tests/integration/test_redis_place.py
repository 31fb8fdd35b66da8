"""Where a scenario on real servers finds a queue's Redis: what is done to it there, and what it has lost (F2)."""

from contextlib import asynccontextmanager

import pytest
from support.live import running

from forebay.scenarios.real.redis_place import RedisPlace


@pytest.fixture
def servers(tmp_path_factory):
    """Of its own: a failover exchanges their roles."""
    with running("redis", tmp_path_factory) as there:
        yield there.redis


@asynccontextmanager
async def opened(servers):
    """A place with the servers that have a replica, and the list of its losses."""
    losses = []
    place = RedisPlace(servers.main, servers.replica, take=lambda taken: None, lose=lambda: losses.append(place.server.name))
    await place.open()
    try:
        async with servers.main.client() as client:
            await client.set("job", "x")
        yield place, losses
    finally:
        await place.close()


@pytest.mark.parametrize("verb", ["wipe", "flush"])
async def test_data_that_are_removed_are_lost_and_none_is_no_loss(servers, verb):
    async with opened(servers) as (place, losses):
        assert await getattr(place, verb)()
        assert losses == ["redis-main"]
        assert not await getattr(place, verb)()
        assert losses == ["redis-main"]


async def test_what_the_replica_lacks_is_lost_when_the_old_one_has_ended_and_before_the_new_one_is_found(servers):
    async with opened(servers) as (place, losses):
        assert await place.fail_over(lost=0)
        assert (losses, place.server.name) == (["redis-main"], "redis-replica")


async def test_a_kill_loses_nothing(servers):
    async with opened(servers) as (place, losses):
        await place.kill()
        await place.start()
        assert losses == []
