"""A call to Redis that is cancelled ends cancelled, whenever that happens."""

import asyncio
from random import Random

import pytest
from support.redis_sites import open_queue, redis_process

from forebay.backends.redis import RedisQueue


@pytest.fixture
async def server(tmp_path):
    async with redis_process(tmp_path / "redis") as server:
        await (await open_queue(server.url)).stop()
        yield server


async def cancelled_after(steps, call):
    """Cancel a call after so many turns of the loop; return whether it had ended by then or has ended cancelled."""
    task = asyncio.create_task(call())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=2)
    return task.cancelled()


@pytest.mark.parametrize("connected", [False, True])
async def test_no_cancellation_of_a_call_is_lost(server, connected):
    queue = RedisQueue(server.url, Random(1))
    ended = []

    async def call():
        await queue.headroom()
        ended.append(True)
        await asyncio.sleep(60)

    for steps in range(1, 40):
        queue._connection.open()
        if connected:
            await queue.headroom()
        assert await cancelled_after(steps, call)
        assert await queue.headroom() == 1.0  # the connection that was in use gives no stale answer
        await queue._connection.close()
    assert ended  # the last cancellations came after the call
