"""The proxy that cuts, freezes, delays and throttles connections."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from forebay.scenarios.servers import Losses, Proxy

HOST = "127.0.0.1"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxied_echo():
    server = await asyncio.start_server(echo, HOST, 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy: Proxy):
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def said_back(end, what: bytes) -> bytes:
    reader, writer = end
    writer.write(what)
    return await asyncio.wait_for(reader.readexactly(len(what)), 10)


async def silent(reader: asyncio.StreamReader) -> bool:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(1), 0.2)
    return True


async def test_bytes_pass_unchanged_in_both_directions_and_an_end_is_passed_on():
    content = bytes(range(256)) * 4096
    async with proxied_echo() as proxy, connected(proxy) as (reader, writer):
        writer.write(content)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), 10) == content
        assert proxy.accepted == 1


async def test_a_cut_resets_connections_and_new_ones_until_it_is_healed():
    async with proxied_echo() as proxy:
        async with connected(proxy) as end:
            assert await said_back(end, b"x") == b"x"
            proxy.cut()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await said_back(end, b"y")
        async with connected(proxy) as end:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await said_back(end, b"z")
        proxy.heal()
        async with connected(proxy) as end:
            assert await said_back(end, b"x") == b"x"


async def test_a_frozen_connection_stays_open_and_silent_and_goes_on_where_it_was():
    async with proxied_echo() as proxy, connected(proxy) as end:
        assert await said_back(end, b"x") == b"x"
        proxy.freeze()
        end[1].write(b"late")
        assert await silent(end[0])
        async with connected(proxy) as (reader, writer):
            writer.write(b"n")
            assert await silent(reader)
            proxy.heal()
            assert await asyncio.wait_for(reader.readexactly(1), 10) == b"n"
        assert await asyncio.wait_for(end[0].readexactly(4), 10) == b"late"


async def test_a_delay_is_added_in_each_direction_and_does_not_narrow_the_way():
    content = b"x" * 512 * 1024
    async with proxied_echo() as proxy, connected(proxy) as end:
        proxy.delay = 0.1
        began = time.monotonic()
        assert await said_back(end, content) == content
        took = time.monotonic() - began
    assert 0.2 <= took < 3  # a delay per chunk would be above 6 s


async def test_a_rate_bounds_what_passes_per_second():
    async with proxied_echo() as proxy, connected(proxy) as end:
        proxy.rate = 200_000.0
        began = time.monotonic()
        await said_back(end, b"x" * 100_000)
        took = time.monotonic() - began
    assert 0.45 <= took < 5


async def test_a_target_that_is_down_resets_the_connection():
    async with Proxy(1) as proxy, connected(proxy) as end:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await said_back(end, b"x")


async def test_closing_leaves_no_task_behind():
    before = asyncio.all_tasks()
    async with proxied_echo() as proxy, connected(proxy) as end:
        await said_back(end, b"x")
        assert proxy.connections == 1
        proxy.freeze()
        end[1].write(b"never arrives")
    async with asyncio.timeout(5):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0)


async def test_answers_that_are_lost_have_been_asked_for_and_leave_their_connections_silent():
    async with proxied_echo() as proxy, connected(proxy) as first, connected(proxy) as second, connected(proxy) as third:
        for end in (first, second, third):
            assert await said_back(end, b"before") == b"before"
        proxy.losses = Losses(2)
        for _, writer in (first, second):
            writer.write(b"lost")
        assert await silent(first[0])
        assert await silent(second[0])
        assert proxy.losses.left == 0
        assert await said_back(third, b"after") == b"after"
        first[1].write(b"more")
        assert await silent(first[0])
        assert proxy.connections == 3
