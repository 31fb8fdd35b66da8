"""The simulated Consul under faults: what a client is told, and what is left (F2, R1, R3)."""

import asyncio

import pytest
from support.simulated_kafka import outcome

from forebay.backends.errors import BackendError, SessionGone, Unavailable, UnknownOutcome
from forebay.scenarios.loop import run, running_loop
from forebay.scenarios.simulation.consul import SimConsul
from forebay.scenarios.simulation.consul_client import SimCoordination

KEY = "lock"


async def consul_with(*hosts):
    loop = running_loop()
    consul = SimConsul(loop.clock, loop.streams.stream("consul"))
    ports = [SimCoordination(consul, host) for host in hosts]
    for port in ports:
        await port.start()
    return consul, *ports


def test_a_host_that_is_cut_off_is_told_nothing_of_its_writes_and_nothing_comes_to_be():
    async def main():
        consul, a, b = await consul_with("a", "b")
        consul.cut("a")
        for call, kind, limit in (
            (a.put(KEY, b""), UnknownOutcome, 10.0),
            (a.get(KEY), Unavailable, 10.0),
            (a.under(""), Unavailable, 10.0),
        ):
            error, seconds = await outcome(call)
            assert (type(error), seconds) == (kind, limit)
        assert await b.get(KEY) is None
        consul.mend("a")
        await a.put(KEY, b"")
        assert await b.get(KEY) is not None

    run(main)


def test_a_renewal_that_is_lost_leaves_time_for_another():
    async def main():
        consul, a = await consul_with("a")
        session = await a.create_session("name", 8.0, 1.0)
        consul.cut("a")
        error, seconds = await outcome(a.renew_session(session))
        assert (type(error), seconds) == (UnknownOutcome, 2.0)

    run(main)


def test_a_write_whose_answer_is_lost_is_done():
    async def main():
        consul, a, b = await consul_with("a", "b")
        session = await a.create_session("name", 10.0, 1.0)
        consul.break_answers(1.0)
        error, seconds = await outcome(a.acquire(KEY, session, b"mine"))
        assert type(error) is UnknownOutcome
        assert seconds < 1
        consul.break_answers(0.0)
        assert (await b.get(KEY)).session == session
        assert consul.holder(KEY) == "a"

    run(main)


def test_while_it_is_down_calls_are_unavailable_at_once_watches_break_and_no_session_lapses():
    async def main():
        consul, a = await consul_with("a")
        session = await a.create_session("name", 2.0, 1.0)
        await a.acquire(KEY, session, b"")
        _, index = await a.watch(KEY, 0, 600)
        watching = asyncio.create_task(outcome(a.watch(KEY, index, 600)))
        await asyncio.sleep(1)
        consul.down()
        assert type((await watching)[0]) is Unavailable
        for call in (a.get(KEY), a.put(KEY, b""), a.start()):
            error, seconds = await outcome(call)
            assert (type(error), seconds) == (Unavailable, 0)
        await asyncio.sleep(100)
        consul.up()
        await a.start()
        await a.renew_session(session)
        assert consul.holder(KEY) == "a"

    run(main)


def test_servers_that_start_again_know_of_no_lock_delay():
    """What protects then is the fence (R3)."""

    async def main():
        consul, a, b = await consul_with("a", "b")
        await a.acquire(KEY, await a.create_session("name", 10.0, 60.0), b"")
        other = await b.create_session("name", 10.0, 60.0)
        consul.expire("a")
        assert not await b.acquire(KEY, other, b"")
        consul.down()
        consul.up()
        assert await b.acquire(KEY, other, b"")

    run(main)


def test_a_request_that_arrives_when_it_is_down_breaks():
    async def main():
        consul, a = await consul_with("a")
        consul.set_latency(1.0)
        putting = asyncio.create_task(outcome(a.put(KEY, b"")))
        await asyncio.sleep(1e-6)
        consul.down()
        error, seconds = await putting
        assert type(error) is UnknownOutcome
        assert seconds < 2
        consul.heal()
        assert await a.get(KEY) is None

    run(main)


def test_a_session_that_is_ended_from_outside_frees_its_lock_after_the_delay():
    async def main():
        consul, a, b = await consul_with("a", "b")
        mine = await a.create_session("name", 10.0, 5.0)
        other = await b.create_session("name", 10.0, 5.0)
        assert await a.acquire(KEY, mine, b"")
        assert consul.free(KEY)
        assert not consul.free(KEY)
        assert consul.holder(KEY) is None
        with pytest.raises(SessionGone):
            await a.renew_session(mine)
        assert not await b.acquire(KEY, other, b"")
        await asyncio.sleep(5)
        assert await b.acquire(KEY, other, b"")
        assert (consul.expire("a"), consul.expire("b")) == (0, 1)
        assert consul.counts["expired"] == 2

    run(main)


def test_one_that_was_set_up_anew_knows_nothing_and_counts_from_the_beginning():
    async def main():
        consul, a = await consul_with("a")
        session = await a.create_session("name", 10.0, 1.0)
        for value in (b"1", b"2", b"3"):
            await a.acquire(KEY, session, value)
        entry, index = await a.watch(KEY, 0, 600)
        watching = asyncio.create_task(outcome(a.watch(KEY, index, 600)))
        await asyncio.sleep(1)
        consul.wipe()
        assert type((await watching)[0]) is Unavailable
        seen, newer = await a.watch(KEY, index, 600)
        assert seen is None
        assert newer != index
        with pytest.raises(SessionGone):
            await a.renew_session(session)
        await a.put(KEY, b"4")
        assert (await a.get(KEY)).modify_index < entry.modify_index

    run(main)


@pytest.mark.parametrize(
    ("ttl", "delay", "says"), [(0.5, 1.0, "lock.ttl"), (90_000.0, 1.0, "lock.ttl"), (10.0, 61.0, "60s")]
)
def test_what_consul_does_not_take_is_refused_with_advice(ttl, delay, says):
    async def main():
        _, a = await consul_with("a")
        with pytest.raises(BackendError, match=says):
            await a.create_session("name", ttl, delay)

    run(main)


def test_the_same_seed_gives_the_same_sessions_and_another_seed_others():
    async def main():
        _, a = await consul_with("a")
        return [await a.create_session("name", 10.0, 1.0) for _ in range(3)]

    assert run(main, seed=1) == run(main, seed=1) != run(main, seed=2)
