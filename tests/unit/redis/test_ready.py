"""The news of ready jobs, and what else is published on their channel (Q5)."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest
from hiredis import pack_command
from support.relay import Term, job

from forebay.backends.redis.queue import RedisQueue
from forebay.backends.redis.ready import CHANNEL
from forebay.scenarios.loop import run, running_loop
from forebay.scenarios.simulation.redis import LATENCY, SimRedis


@asynccontextmanager
async def waiting(server):
    """A queue whose `wait` for the topic `jobs` has begun, and that wait."""
    queue = RedisQueue("redis://simulated", Random(1), make=server.client("a"))
    await queue.start()
    waiter = asyncio.ensure_future(queue.wait(("jobs",), 60.0))
    await asyncio.sleep(1)  # it has subscribed
    try:
        yield queue, waiter
    finally:
        waiter.cancel()
        await queue.stop()


async def publish(server, payload):
    """As any client of that Redis may."""
    connection = await server.client("b")("redis://simulated").connection_pool.get_connection()
    await connection.send_packed_command(pack_command(("PUBLISH", CHANNEL, payload)))
    assert await connection.read_response() == 1


@pytest.mark.parametrize("payload", [b"\xff", b"", b"forebay:{other}:", b"forebay:{jobs", b"\0" * 1_000_000])
def test_what_others_publish_on_the_channel_is_passed_over(payload):
    async def main():
        server = SimRedis("simulated", running_loop().clock, Random(2))
        async with waiting(server) as (queue, waiter):
            await publish(server, payload)
            await asyncio.sleep(1)
            assert not waiter.done()
            await (await Term(queue).begin()).write(job("x"))
            began = running_loop().time()
            assert await waiter is True
            assert running_loop().time() - began <= 4 * LATENCY  # the news, and the look for a pending job

    run(main)
