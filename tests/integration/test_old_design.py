"""What a full Redis refuses, real and simulated alike, and the queue of lists that locks up of it (F2, F4, Q4)."""

from contextlib import suppress
from functools import partial

import pytest
from hiredis import pack_command
from redis.exceptions import OutOfMemoryError

from forebay.backends.errors import Full
from forebay.backends.redis.connection import Connection, connect
from forebay.scenarios.loop import run as run_virtual
from forebay.scenarios.loop import running_loop
from forebay.scenarios.old_design import ListQueue
from forebay.scenarios.simulation.redis import SimRedis
from forebay.scenarios.simulation.redis_commands import COMMANDS

BEFORE = ("SETRANGE t 0 x", "HSET h f v", "ZADD z 1 m", "LPUSH l x", "LPUSH l y")
CALLS = (
    "DEL none", "EXISTS h", "GET t", "STRLEN t", "SETRANGE t 0 y", "GETBIT t 0", "SETBIT t 0 1", "BITPOS t 1", "HGET h f",
    "HMGET h f", "HSET h f w", "HSETNX h g v", "HDEL h g", "HEXISTS h f", "HLEN h", "HGETALL h", "HINCRBY h n 1",
    "ZADD z 2 m", "ZREM z x", "ZCARD z", "ZSCORE z m", "ZRANGE z 0 -1", "ZRANGEBYSCORE z 0 1", "ZRANGEBYLEX z - +",
    "ZSCAN z 0", "LPUSH l x", "LMOVE l m RIGHT LEFT", "LREM l 1 x", "LLEN l",
)  # fmt: skip


@pytest.fixture
async def server(redis_servers):
    """A Redis that nobody follows; empty and without a limit afterwards."""
    server = redis_servers.other
    yield server
    await server.limit_memory(0)
    async with server.client() as client:
        await client.flushall()


async def refused_by(call, fill):
    """Which of `CALLS` are refused for want of memory."""
    for words in BEFORE:
        await call(*words.split())
    await fill()
    refused = set()
    for words in CALLS:
        try:
            await call(*words.split())
        except OutOfMemoryError:
            refused.add(words)
    return refused


def refused_by_the_simulation():
    async def main():
        loop = running_loop()
        server = SimRedis("simulated", loop.clock, loop.streams.stream("redis"))
        pool = server.client("a")("").connection_pool

        async def call(*words):
            connection = await pool.get_connection()
            try:
                await connection.send_packed_command(pack_command(words))
                return await connection.read_response()
            finally:
                await pool.release(connection)

        async def fill():
            server.limit_memory(1)

        return await refused_by(call, fill)

    return run_virtual(main)


async def test_a_full_redis_refuses_the_same_commands_as_the_simulated_one(server):
    async with server.client() as client:
        refused = await refused_by(client.execute_command, lambda: server.limit_memory(1))
    assert {words.split()[0] for words in refused} == {name.decode() for name, one in COMMANDS.items() if one.fills}
    assert {words.split()[0].encode() for words in CALLS} == COMMANDS.keys()
    assert {"LPUSH l x", "LMOVE l m RIGHT LEFT"} < refused


def test_the_simulated_one_refuses_what_it_says_that_it_does():
    assert {words.split()[0].encode() for words in refused_by_the_simulation()} == {
        name for name, one in COMMANDS.items() if one.fills
    }


async def test_a_queue_of_lists_in_a_full_redis_can_neither_be_taken_from_nor_given_back_to_until_somebody_acts(server):
    queue = ListQueue(Connection(partial(connect, server.url), server.name), "jobs", "a")
    for number in range(3):
        await queue.post(b"%d" % number + bytes(4096))
    failed = await queue.take()
    async with server.client() as client:
        used = (await client.info("memory"))["used_memory"]
    await server.limit_memory(used + 64 * 1024)
    for size in (
        4096,
        256,
        16,
        *[0] * 20,
    ):  # small ones fill what large ones leave
        with suppress(Full):
            while True:
                await queue.post(bytes(size))
    waiting, before = await queue.pending(), queue.refused.copy()
    for _ in range(20):
        for act in (queue.take(), queue.give_back(failed), queue.post(b"")):
            with pytest.raises(Full):
                await act
    assert queue.refused - before == {"LMOVE": 20, "LPUSH": 40}
    assert (await queue.pending(), await queue.in_flight()) == (waiting, 1)
    await server.limit_memory(0)
    assert await queue.take() == b"1" + bytes(4096)
    await queue.give_back(failed)
    assert (await queue.pending(), await queue.in_flight()) == (waiting, 1)
