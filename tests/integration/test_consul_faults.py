"""What the Consul adapter does when its agent, the network or other people interfere, on a real agent (R1, R2, R3, F4)."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from support.consul_sites import ask, clear, sessions
from support.live import eventually
from support.services import require
from support.sockets import connected

from forebay.backends.consul import ConsulCoordination
from forebay.backends.errors import BackendError, SessionGone, Unavailable, UnknownOutcome
from forebay.scenarios.servers import ConsulServer
from forebay.scenarios.servers.consul_server import PARTS
from forebay.scenarios.servers.proxy import Proxy
from forebay.scenarios.servers.state import State

LOCK = "lock-under-faults"  # no other test uses it: a lock delay outlives the test that began it
SHORT = 1.0  # seconds: the least TTL that the tests' agent admits
TIMEOUT = 1.0
ALLOWANCE = 5.0  # seconds more that a busy machine may take
SOME_SESSION = "adf4238a-882b-9ddc-4a9d-5b6758e4159e"
SECRET = "5c7bd8a2-3f0e-4a51-9d44-0f6f0d1f7c11"


@pytest.fixture
def agent(consul_server):
    yield consul_server
    clear(consul_server)


@asynccontextmanager
async def opened(url, timeout=10.0):
    coordination = ConsulCoordination(url, timeout=timeout)
    await coordination.start()
    try:
        yield coordination
    finally:
        await coordination.stop()


@pytest.fixture
async def coordination(agent):
    async with opened(agent.url) as coordination:
        yield coordination


@pytest.fixture
async def proxy(agent):
    async with Proxy(agent.port) as proxy:
        yield proxy


@pytest.fixture
async def through(proxy):
    """The adapter with a proxy between it and the agent, and little patience."""
    async with opened(f"consul://127.0.0.1:{proxy.port}", TIMEOUT) as coordination:
        yield coordination


async def hold(coordination, key=LOCK, ttl=10.0, lock_delay=0.0):
    session = await coordination.create_session("holder", ttl, lock_delay)
    assert await coordination.acquire(key, session, b"me")
    return session


async def works(coordination):
    """Whether a call gets through."""
    try:
        await coordination.get("k")
    except Unavailable:
        return False
    return True


async def in_time(awaitable):
    async with asyncio.timeout(TIMEOUT + ALLOWANCE):
        return await awaitable


# the agent


async def test_with_its_agent_down_every_call_is_unavailable_and_nothing_was_sent(agent, coordination):
    session = await hold(coordination)
    _, index = await coordination.watch("k", 0, 600)
    watching = asyncio.create_task(coordination.watch("k", index, 600))
    await coordination.get("k")
    await agent.kill()
    try:
        with pytest.raises(Unavailable):
            await watching
        calls = (
            lambda: coordination.get("k"),
            lambda: coordination.put("k", b"v"),
            lambda: coordination.delete("k"),
            lambda: coordination.acquire("k", session, b"v"),
            lambda: coordination.release(LOCK, session),
            lambda: coordination.create_session("s", 10, 0),
            lambda: coordination.renew_session(session),
            lambda: coordination.destroy_session(session),
            lambda: coordination.watch("k", 1, 600),
        )
        for call in calls:
            with pytest.raises(Unavailable, match="cannot be reached") as raised:
                await in_time(call())
            assert not isinstance(raised.value, UnknownOutcome)
    finally:
        await agent.start()
    await eventually(lambda: works(coordination))


async def test_sessions_and_locks_outlive_a_restart_of_the_agent(agent, coordination):
    session = await hold(coordination)
    before = await coordination.get(LOCK)
    await agent.kill()
    await agent.start()
    await eventually(lambda: works(coordination))
    assert await coordination.get(LOCK) == before
    await coordination.renew_session(session)


async def test_an_adapter_whose_agent_is_down_does_not_start_leaves_nothing_and_starts_later(agent):
    tasks = asyncio.all_tasks()
    coordination = ConsulCoordination(agent.url)
    await agent.kill()
    try:
        with pytest.raises(Unavailable):
            await coordination.start()
        assert asyncio.all_tasks() == tasks
        assert connected({agent.port}) == []
    finally:
        await agent.start()
    await coordination.start()
    assert await coordination.get("k") is None
    await coordination.stop()


async def test_what_is_no_consul_is_named_as_such_at_the_start():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BackendError, match=r"no Consul agent.*coordination\.url"):
            await ConsulCoordination(f"consul://127.0.0.1:{port}").start()


# other people


async def test_the_index_of_a_lock_goes_on_growing_when_others_delete_its_key_though_consuls_lock_index_begins_again(
    agent, coordination
):
    seen, lock_indexes = [], []
    for _ in range(3):
        session = await hold(coordination)
        seen.append((await coordination.get(LOCK)).modify_index)
        lock_indexes += [entry["LockIndex"] for entry in json.loads(ask(agent, "GET", f"/v1/kv/{LOCK}")[1])]
        ask(agent, "DELETE", f"/v1/kv/{LOCK}")
        assert not await coordination.release(LOCK, session)
    assert seen == sorted(set(seen))
    assert lock_indexes == [1, 1, 1]


async def test_a_session_that_others_destroyed_is_gone_and_its_lock_is_seen_free(agent, coordination):
    session = await hold(coordination)
    _, index = await coordination.watch(LOCK, 0, 600)
    watching = asyncio.create_task(coordination.watch(LOCK, index, 600))
    ask(agent, "PUT", f"/v1/session/destroy/{session}")
    assert (await watching)[0].session is None
    with pytest.raises(SessionGone, match="acquire again"):
        await coordination.renew_session(session)


async def test_a_session_does_not_hang_on_the_health_of_the_agents_node(agent, coordination):
    session = await coordination.create_session("s", 10, 0)
    (found,) = [one for one in sessions(agent) if one["ID"] == session]
    assert (found["NodeChecks"], found["Behavior"], found["Name"]) == ([], "release", "s")


# locks


async def test_the_lock_of_a_silent_holder_passes_on_after_its_ttl_and_lock_delay_and_not_before(agent, coordination):
    async with opened(agent.url) as other:
        silent = await hold(coordination, ttl=SHORT, lock_delay=SHORT)
        held = await coordination.get(LOCK)
        next_one = await other.create_session("next", 10, 0)
        entry, index = await other.watch(LOCK, 0, 600)
        while entry.session is not None:
            assert not await other.acquire(LOCK, next_one, b"next")
            entry, index = await other.watch(LOCK, index, 600)
        assert not await other.acquire(LOCK, next_one, b"next"), "the lock delay has just begun"
        await eventually(lambda: other.acquire(LOCK, next_one, b"next"))
        assert (await other.get(LOCK)).modify_index > held.modify_index
        with pytest.raises(SessionGone):
            await coordination.renew_session(silent)


async def test_of_two_processes_that_race_for_a_lock_never_two_hold_it(agent, coordination):
    async with opened(agent.url) as other:
        contenders = [(one, await one.create_session("racer", 10, 0)) for one in (coordination, other) * 3]
        for _ in range(15):
            taken = await asyncio.gather(*(one.acquire(LOCK, session, session.encode()) for one, session in contenders))
            assert sum(taken) == 1
            _, winner = contenders[taken.index(True)]
            entry = await other.get(LOCK)
            assert (entry.session, entry.value) == (winner, winner.encode())
            released = await asyncio.gather(*(one.release(LOCK, session) for one, session in contenders))
            assert released == taken


# the network


async def test_a_network_that_is_cut_makes_calls_and_watches_unavailable_and_they_work_again_after(proxy, through):
    _, index = await through.watch("k", 0, 600)
    watching = asyncio.create_task(through.watch("k", index, 600))
    await through.get("k")
    proxy.cut()
    with pytest.raises(Unavailable):
        await in_time(watching)
    with pytest.raises(Unavailable):
        await in_time(through.put("k", b"v"))
    proxy.heal()
    await through.put("k", b"w")
    assert (await through.watch("k", index, 600))[0].value == b"w"


async def test_a_network_that_loses_everything_is_noticed_within_the_timeout(proxy, through):
    proxy.freeze()
    with pytest.raises(Unavailable) as reading:
        await in_time(through.get("k"))
    assert not isinstance(reading.value, UnknownOutcome)
    for write in (lambda: through.put("k", b"v"), lambda: through.delete("k"), lambda: through.create_session("s", 10, 0)):
        with pytest.raises(UnknownOutcome):
            await in_time(write())
    proxy.heal()
    await eventually(lambda: works(through))


async def test_a_watch_over_a_network_that_loses_everything_is_unavailable_long_before_its_wait(proxy, through, monkeypatch):
    monkeypatch.setattr("forebay.backends.consul.coordination.BLOCK", 0.5)
    _, index = await through.watch("k", 0, 600)
    watching = asyncio.create_task(through.watch("k", index, 600))
    await through.get("k")
    proxy.freeze()
    with pytest.raises(Unavailable):
        await in_time(watching)


async def test_a_renewal_that_is_lost_leaves_time_for_another(agent, proxy):
    """One connection that went silent must not cost the lock (R2)."""
    async with opened(f"consul://127.0.0.1:{proxy.port}", timeout=600) as coordination:
        session = await hold(coordination, ttl=4 * TIMEOUT)
        proxy.freeze()
        with pytest.raises(UnknownOutcome):
            await in_time(coordination.renew_session(session))
        proxy.heal()
        await coordination.renew_session(session)


async def test_a_write_whose_answer_was_lost_has_an_unknown_outcome_and_was_done_once(agent, coordination, proxy, through):
    await through.get("k")
    before = proxy.accepted
    proxy.delay = TIMEOUT * 0.7  # each way
    with pytest.raises(UnknownOutcome):
        await through.put("k", b"v")
    assert proxy.accepted == before

    async def arrived():
        entry = await coordination.get("k")
        return entry is not None and entry.value == b"v"

    await eventually(arrived)


async def test_a_write_whose_connection_breaks_is_sent_once():
    """aiohttp by itself would send it again, as it does every PUT on a connection that was kept."""
    arrived = []

    async def answer(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            arrived.append(head.split()[0])
            if arrived[-1] == b"PUT":
                writer.transport.abort()
                return
            writer.write(b"HTTP/1.1 404 Not Found\r\nX-Consul-Index: 1\r\nContent-Length: 0\r\n\r\n")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with opened(f"consul://127.0.0.1:{port}") as coordination:
            with pytest.raises(UnknownOutcome):
                await coordination.put("k", b"v")
    assert arrived == [b"GET", b"PUT"]


# what Consul refuses


async def test_a_ttl_that_the_agent_does_not_admit_is_refused_with_the_setting_to_change(coordination):
    for ttl in (SHORT / 2, 100_000):
        with pytest.raises(BackendError, match=r"lock\.ttl") as refused:
            await coordination.create_session("s", ttl, 0)
        assert not isinstance(refused.value, Unavailable), "waiting does not help"


@pytest.mark.parametrize(("ttl", "lock_delay", "setting"), [(SHORT / 2, 0.0, "lock.ttl"), (10.0, 61.0, "lock.lock_delay")])
async def test_what_it_would_not_admit_of_the_lock_is_refused_when_it_is_opened(agent, ttl, lock_delay, setting):
    coordination = ConsulCoordination(agent.url, admits=(ttl, lock_delay))
    with pytest.raises(BackendError, match=setting) as refused:
        await coordination.start()
    assert not isinstance(refused.value, Unavailable)
    with pytest.raises(Unavailable):
        await coordination.get("k")


async def test_the_session_that_tries_the_lock_out_when_it_is_opened_does_not_stay(agent):
    before = sessions(agent)
    coordination = ConsulCoordination(agent.url, admits=(SHORT, 5.0))
    await coordination.start()
    assert sessions(agent) == before
    await coordination.stop()


async def test_a_lock_delay_that_consul_would_shorten_is_refused_with_the_setting_to_change(coordination):
    with pytest.raises(BackendError, match=r"lock\.lock_delay"):
        await coordination.create_session("s", 10, 61)
    await coordination.create_session("s", 10, 60)


async def test_a_value_that_is_too_large_is_refused_with_consuls_reason(coordination):
    with pytest.raises(BackendError, match="too large") as refused:
        await coordination.put("k", bytes(600_000))
    assert not isinstance(refused.value, Unavailable)


async def test_another_data_centre_is_asked_for_by_name_in_every_call(agent):
    async with opened(f"{agent.url}?dc=dc1") as here:
        await here.renew_session(await hold(here))
    elsewhere = ConsulCoordination(f"{agent.url}?dc=nowhere")
    with pytest.raises(Unavailable, match="No path to datacenter"):
        await elsewhere.start()
    elsewhere._connection.open()
    for call in (
        lambda: elsewhere.put("k", b"v"),
        lambda: elsewhere.delete("k"),
        lambda: elsewhere.acquire("k", SOME_SESSION, b"v"),
        lambda: elsewhere.release("k", SOME_SESSION),
        lambda: elsewhere.create_session("s", 10, 0),
        lambda: elsewhere.renew_session(SOME_SESSION),
        lambda: elsewhere.destroy_session(SOME_SESSION),
    ):
        with pytest.raises(Unavailable, match="No path to datacenter") as raised:
            await call()
        assert not isinstance(raised.value, UnknownOutcome)
    await elsewhere.stop()


class GuardedConsul(ConsulServer):
    """An agent that asks for a token where one was sent, and knows one."""

    async def prepare(self):
        await super().prepare()
        path = self.folder / "settings.json"
        guard = {"enabled": True, "default_policy": "allow", "tokens": {"master": SECRET}}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"acl": guard}))


async def test_the_token_of_the_url_goes_with_every_call_and_a_wrong_one_is_told_without_showing_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "from-the-environment")
    state = State(tmp_path)
    state.give_ports(["consul", *PARTS[1:]])
    agent = GuardedConsul("consul", require("consul"), state, detached=False)
    await agent.start()
    try:
        async with opened(f"consul://{SECRET}@{agent.address}") as coordination:
            await coordination.renew_session(await hold(coordination))
        wrong = ConsulCoordination(f"consul://{SOME_SESSION}@{agent.address}")
        with pytest.raises(Unavailable, match=r"refuses us.*coordination\.url") as raised:
            await wrong.start()
        assert SOME_SESSION not in str(raised.value)
        wrong._connection.open()
        for call in (
            lambda: wrong.put("k", b"v"),
            lambda: wrong.delete("k"),
            lambda: wrong.create_session("s", 10, 0),
            lambda: wrong.renew_session(SOME_SESSION),
            lambda: wrong.destroy_session(SOME_SESSION),
        ):
            with pytest.raises(Unavailable, match="refuses us"):
                await call()
        await wrong.stop()
    finally:
        await agent.stop(0)


async def test_the_environment_does_not_say_where_consul_is(agent, monkeypatch):
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:9")
    async with opened(agent.url) as coordination:
        assert await coordination.get("k") is None
