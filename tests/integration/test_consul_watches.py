"""Watches of the Consul adapter are blocking queries: few requests, many at once, an end at once (R7, A5)."""

import asyncio

import pytest
from support.consul_sites import ask, clear
from support.live import eventually
from support.sockets import connected, open_files

from forebay.backends.consul import ConsulCoordination
from forebay.backends.consul.connection import Connection
from forebay.backends.errors import Unavailable

WATCHES = 150  # of 12 topics in six processes; by default an agent serves 200 connections of one address


class CountedRequests(Connection):
    """The connection as it is; notes what was asked."""

    def __init__(self, address):
        super().__init__(address)
        self.asked = []

    async def call(self, callback, request):
        self.asked.append((request.method, request.path, dict(request.params).get("index")))
        return await super().call(callback, request)


@pytest.fixture
def agent(consul_server):
    yield consul_server
    clear(consul_server)


@pytest.fixture
async def coordination(agent, monkeypatch):
    monkeypatch.setattr("forebay.backends.consul.coordination.Connection", CountedRequests)
    coordination = ConsulCoordination(agent.url)
    await coordination.start()
    coordination._connection.asked.clear()
    yield coordination
    await coordination.stop()


def asked(coordination, key="k"):
    """The indexes that a key was asked for; None: as it is now."""
    return [index for _, path, index in coordination._connection.asked if path == f"/v1/kv/{key}"]


async def blocked(coordination, count=1):
    """Wait until so many blocking queries are under way."""

    async def sent():
        return sum(index is not None for _, _, index in coordination._connection.asked) >= count

    await eventually(sent)


async def test_a_watch_is_one_look_and_one_query_that_the_change_ends(agent, coordination):
    await coordination.put("k", b"v")
    _, index = await coordination.watch("k", 0, 600)
    coordination._connection.asked.clear()
    watching = asyncio.create_task(coordination.watch("k", index, 600))
    await blocked(coordination)
    ask(agent, "DELETE", "/v1/kv/k")
    assert (await watching)[0] is None
    assert asked(coordination) == [None, index]


async def test_a_long_watch_is_made_of_queries_that_each_wait_a_while(coordination, monkeypatch):
    monkeypatch.setattr("forebay.backends.consul.coordination.BLOCK", 0.2)
    await coordination.put("k", b"v")
    entry, index = await coordination.watch("k", 0, 600)
    coordination._connection.asked.clear()
    assert await coordination.watch("k", index, 0.5) == (entry, index)
    assert asked(coordination) in ([None, index, index], [None, index, index, index])


async def test_a_change_of_a_neighbour_is_no_change_of_a_key_that_is_absent(coordination):
    await coordination.put("limits/a", b"v")
    _, index = await coordination.watch("limits/b", 0, 600)
    watching = asyncio.create_task(coordination.watch("limits/b", index, 600))
    await blocked(coordination)
    await coordination.put("limits/a", b"w")
    await blocked(coordination, 2)
    assert not watching.done()
    await coordination.put("limits/b", b"here")
    assert (await watching)[0].value == b"here"


async def test_a_watch_whose_key_stays_absent_returns_with_the_index_it_was_given(coordination):
    _, index = await coordination.watch("limits/b", 0, 600)
    await coordination.put("limits/a", b"v")
    assert await coordination.watch("limits/b", index, 0.1) == (None, index)


async def test_an_index_that_is_higher_than_consuls_begins_again_at_once(coordination):
    """As after a restore from a backup: by itself Consul would wait until its index has grown past ours."""
    await coordination.put("k", b"v")
    now = await coordination.get("k")
    assert await coordination.watch("k", 10**9, 600) == (now, now.modify_index)


async def test_after_consul_lost_its_data_a_watch_of_before_sees_it_and_what_comes_then(agent, coordination):
    for value in range(20):
        await coordination.put("k", b"%d" % value)
    before, index = await coordination.watch("k", 0, 600)
    await agent.wipe()
    try:
        with pytest.raises(Unavailable):
            await coordination.watch("k", index, 600)
    finally:
        await agent.start()
    entry, after = await coordination.watch("k", index, 600)
    assert (entry, after < index) == (None, True)
    watching = asyncio.create_task(coordination.watch("k", after, 600))
    await blocked(coordination)
    await coordination.put("k", b"anew")
    entry, newest = await watching
    assert (entry.value, newest < before.modify_index) == (b"anew", True)


async def test_calls_do_not_queue_behind_many_watches(agent, coordination):
    first = await asyncio.gather(*(coordination.watch(f"many/{n}", 0, 600) for n in range(WATCHES)))
    watching = [asyncio.create_task(coordination.watch(f"many/{n}", seen[1], 600)) for n, seen in enumerate(first)]

    async def all_connected():
        return len(connected({agent.port})) >= WATCHES

    await blocked(coordination, WATCHES)
    await eventually(all_connected)
    session = await coordination.create_session("s", 10, 0)
    await coordination.renew_session(session)
    assert await coordination.get("other") is None
    assert not any(watch.done() for watch in watching)
    for n in range(WATCHES):
        ask(agent, "PUT", f"/v1/kv/many/{n}")
    assert [entry.key for entry, _ in await asyncio.gather(*watching)] == [f"many/{n}" for n in range(WATCHES)]


async def test_a_stop_ends_watches_and_calls_at_once_and_leaves_no_task_and_no_socket(agent):
    before, tasks = open_files(), asyncio.all_tasks()
    coordination = ConsulCoordination(agent.url)
    await coordination.start()
    _, index = await coordination.watch("k", 0, 600)
    waiting = [asyncio.create_task(coordination.watch("k", index, 600)) for _ in range(20)]

    async def all_connected():
        return len(connected({agent.port})) >= len(waiting)

    await eventually(all_connected)
    waiting.append(asyncio.create_task(coordination.get("k")))
    await asyncio.sleep(0)
    await coordination.stop()
    await coordination.stop()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ended} == {Unavailable}
    assert asyncio.all_tasks() == tasks
    assert connected({agent.port}) == []
    assert open_files() <= before


async def test_a_watch_that_is_cancelled_ends_cancelled_and_closes_its_connection(agent, coordination):
    _, index = await coordination.watch("k", 0, 600)
    watching = asyncio.create_task(coordination.watch("k", index, 600))
    await blocked(coordination)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching

    async def none_left():
        return connected({agent.port}) == []

    await eventually(none_left, seconds=10)  # a query would hold it for thirty
    assert await coordination.get("k") is None
