"""Closing connections to a Redis that does not take part in it, as over TLS (R5)."""

import asyncio
from random import Random

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from forebay.backends.errors import Unavailable
from forebay.backends.redis.queue import RedisQueue
from forebay.scenarios.loop import run, running_loop
from forebay.scenarios.simulation.redis import SimRedis

LATE = RedisTimeoutError("Timed out closing connection after 5.0")


def closing_raises(server, error):
    """What makes clients whose connections are closed only after 5 s, and then with an error, as redis-py's are."""

    def make(url):
        client = server.client("a")(url)
        pool, disconnect = client.connection_pool, client.connection_pool.disconnect

        async def fail(*, inuse_connections):
            await disconnect(inuse_connections=inuse_connections)
            await asyncio.sleep(5)
            raise error

        pool.disconnect = fail
        return client

    return make


@pytest.mark.parametrize("error", [LATE, RedisConnectionError("reset"), OSError("broken")], ids=str)
def test_a_stop_is_orderly_though_closing_fails(error):
    async def main():
        server = SimRedis("simulated", running_loop().clock, Random(2))
        queue = RedisQueue("rediss://simulated", Random(1), make=closing_raises(server, error))
        await queue.start()
        server.kill()
        await queue.stop()
        with pytest.raises(Unavailable, match="not open"):
            await queue.headroom()

    run(main)


def test_a_start_that_fails_says_why_though_closing_fails_too():
    async def main():
        server = SimRedis("simulated", running_loop().clock, Random(2))
        server.kill()
        queue = RedisQueue("rediss://simulated", Random(1), make=closing_raises(server, LATE))
        with pytest.raises(Unavailable, match="cannot be reached"):
            await queue.start()

    run(main)


def test_a_stop_that_is_cancelled_while_it_closes_is_cancelled():
    async def main():
        server = SimRedis("simulated", running_loop().clock, Random(2))
        queue = RedisQueue("rediss://simulated", Random(1), make=closing_raises(server, LATE))
        await queue.start()
        stopping = asyncio.ensure_future(queue.stop())
        await asyncio.sleep(1)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping

    run(main)


def test_a_replica_that_does_not_let_its_connection_close_is_told_as_any_other():
    """What it has answered is known; redis-py's wait for the other end would hide it behind an error of its own."""

    async def main():
        server = SimRedis("simulated", running_loop().clock, Random(2))
        client = server.client("a")("rediss://simulated")
        pool, connect, closed = client.connection_pool, client.connection_pool.get_connection, []

        async def close(*, nowait=False):
            closed.append(nowait)
            if not nowait:
                await asyncio.sleep(5)
                raise LATE

        async def refuse():
            raise ReadOnlyError("You can't write against a read only replica.")

        async def to_a_replica():
            connection = await connect()
            connection.read_response, connection.disconnect = refuse, close
            return connection

        pool.get_connection = to_a_replica
        with pytest.raises(Unavailable, match="read only replica"):
            await RedisQueue("rediss://simulated", Random(1), make=lambda _: client).start()
        assert closed == [True]

    run(main)
