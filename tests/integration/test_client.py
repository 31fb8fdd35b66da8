"""The client against real gates: zones, failover and return, Unix sockets, what is refused (G3, G4, G6, G7)."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
from support.gates import gate_in, until

from forebay.actors.gate.messages import Tcp, Unix
from forebay.client import Client, NewJob, Receipt, Refused, Unreachable
from forebay.jobs import decode, partition_of

RAW = b'{ "escaped": "\\u00e9", "big": 9007199254740993, "twice": 1, "twice": 2 }'


def decoded(record):
    return decode(record.topic, record.partition, record.offset, record.timestamp, record.value, record.headers)


async def ids(gate, topic="jobs"):
    return sorted(decoded(record).id for record in await gate.records(topic))


def up(client, url):
    return next(view for view in client.gates if view.url == url).up


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def two_zones(tmp_path):
    """Gate `a` in zone a, and `b` in zone b."""
    async with gate_in(tmp_path / "a", zone="a") as a, gate_in(tmp_path / "b", zone="b") as b:
        yield a, b


@pytest.fixture
async def gate(tmp_path):
    async with gate_in(tmp_path / "data") as running:
        yield running


# ------------------------------------------------------------------------------------------ posting


async def test_a_job_is_posted_with_all_its_fields_and_the_receipt_says_where_it_is(gate):
    async with Client(gate.url) as client:
        receipt = await client.enqueue(
            "mail.send", raw=RAW, id="é-1", dedup="d", delay=5, key="k", shadow=True, topic="mail", acks="all"
        )
    assert receipt == Receipt("é-1", "mail", partition_of("k", 2), 0, "synced to disk")
    (record,) = await gate.records("mail")
    found = decoded(record)
    assert (found.id, found.type, found.args, found.dedup, found.shadow) == ("é-1", "mail.send", RAW, "d", True)
    assert found.not_before - found.enqueued_at == 5000


async def test_a_job_without_an_id_gets_one_from_the_client(gate):
    """What makes a repetition safe is there before the first attempt (G7)."""
    async with Client(gate.url) as client:
        receipts = [await client.enqueue("t", {"to": "ann"}) for _ in range(3)]
    assert len({receipt.id for receipt in receipts}) == 3
    assert await ids(gate) == sorted(receipt.id for receipt in receipts)


async def test_a_batch_gives_each_job_its_own_result_in_order(gate):
    """G6; the jobs that are none are refused here, or by the gate, and the others are in."""
    jobs = [NewJob("t", id="a"), NewJob(""), NewJob("t", raw=b"{"), NewJob("t", "x" * 2000, id="long"), NewJob("t", id="b")]
    async with Client(gate.url) as client:
        a, no_type, no_json, too_long, b = await client.enqueue_batch(jobs, topic="mail")
        assert await client.enqueue_batch([]) == []
        (alone,) = await client.enqueue_batch([NewJob("")])
    assert (a.id, b.id) == ("a", "b")
    found = [r.problem.type.removeprefix("urn:forebay:problem:") for r in (no_type, no_json, too_long, alone)]
    assert found == ["invalid-job", "malformed-json", "record-too-large", "invalid-job"]
    assert too_long.ids == ("long",)
    assert not any(r.maybe_accepted for r in (no_type, no_json, too_long, alone))
    assert await ids(gate, "mail") == ["a", "b"]


async def test_a_batch_of_which_no_job_was_accepted_has_its_results_too(gate):
    async with Client(gate.url) as client:
        results = await client.enqueue_batch([NewJob("t", "x" * 2000), NewJob("t", "y" * 2000)], topic="mail")
    assert [r.problem.status for r in results] == [413, 413]


async def test_raw_that_says_more_than_args_is_refused_before_it_is_sent(gate):
    async with Client(gate.url) as client:
        with pytest.raises(Refused, match="one JSON value"):
            await client.enqueue("t", raw=b'1, "dedup": "d"')
        (result,) = await client.enqueue_batch([NewJob("t", raw=b'1}, {"type": "u"')])
    assert isinstance(result, Refused)
    assert await gate.records() == []


@pytest.mark.parametrize(
    ("post", "status", "name", "sent"),
    [
        ({"topic": "male"}, 404, "unknown-topic", True),
        ({"acks": "some"}, 400, "bad-parameter", True),
        ({"topic": "mail", "args": "x" * 2000}, 413, "record-too-large", True),
        ({"args": "x" * 5 * 2**20}, 413, "body-too-large", True),
        ({"delay": -1}, 422, "invalid-job", False),
        ({"id": "x" * 201}, 422, "invalid-job", False),
        ({"key": "\ud800"}, 422, "invalid-job", False),
    ],
)
async def test_what_must_be_repaired_is_refused_at_once_with_the_gates_reason(gate, post, status, name, sent):
    """G3: no repetition makes it right, and the gate is no worse for it."""
    async with Client(gate.url) as client:
        with pytest.raises(Refused) as caught:
            await client.enqueue("t", **post)
        assert (caught.value.problem.status, caught.value.problem.type) == (status, f"urn:forebay:problem:{name}")
        assert caught.value.problem.detail
        assert not caught.value.maybe_accepted
        assert client.gates[0].error is None
        assert up(client, gate.url)
    assert gate.appends() == 0


async def test_args_that_json_cannot_say_are_the_callers_error(gate):
    async with Client(gate.url) as client:
        with pytest.raises(TypeError):
            await client.enqueue("t", {1, 2})
        with pytest.raises(Refused, match="malformed JSON"):
            await client.enqueue("t", float("nan"))


# -------------------------------------------------------------------------------------------- zones


async def test_the_gate_of_the_own_zone_is_asked_as_long_as_it_is_up(tmp_path):
    """G7"""
    async with two_zones(tmp_path) as (a, b), Client([a.url, b.url], zone="b") as client:
        await until(lambda: up(client, b.url))
        for n in range(5):
            await client.enqueue("t", id=str(n))
        assert {view.url: view.zone for view in client.gates}[b.url] == "b"
        assert (len(await a.records()), len(await b.records())) == (0, 5)


async def test_when_the_own_zone_goes_the_other_takes_over_and_when_it_is_back_it_is_asked_again(tmp_path):
    """G7: failover and return, with nobody's help; every job was accepted, in one of the two."""
    port = free_port()
    own = Tcp("127.0.0.1", port)
    url = f"http://127.0.0.1:{port}"
    async with gate_in(tmp_path / "far", zone="b") as far, Client([url, far.url], zone="a") as client:
        assert not up(client, url)
        await client.enqueue("t", id="before")
        async with gate_in(tmp_path / "own", zone="a", bind=own) as near:
            await until(lambda: up(client, url))
            await client.enqueue("t", id="first")
            assert await ids(near) == ["first"]
        await asyncio.gather(*(client.enqueue("t", id=f"while away {n}") for n in range(10)))
        assert not up(client, url)
        async with gate_in(tmp_path / "own", zone="a", bind=own) as near:
            await until(lambda: up(client, url))
            await client.enqueue("t", id="again")
            assert await ids(near) == ["again", "first"]
        assert len(await ids(far)) == 11


async def test_a_gate_that_comes_back_in_another_zone_is_known_by_that(tmp_path):
    """G7: the zone is learned again."""
    bind = Tcp("127.0.0.1", free_port())
    async with Client(bind.url, zone="a") as client:
        for zone in ("a", "b"):
            async with gate_in(tmp_path / "data", zone=zone, bind=bind):
                await until(lambda: up(client, bind.url))
                await client.enqueue("t")
                assert client.gates[0].zone == zone
            with pytest.raises(Unreachable):
                await client.enqueue("t", timeout=0.1)


async def test_a_log_that_is_away_behind_one_gate_is_a_matter_for_another(tmp_path):
    """G7: 503 `unavailable` is not waited out where another gate can take the job."""
    async with two_zones(tmp_path) as (a, b), Client([a.url, b.url], zone="a") as client:
        await until(lambda: up(client, a.url))
        await until(lambda: up(client, b.url))
        a.faults.down = True
        receipt = await client.enqueue("t", id="x")
        assert receipt.id == "x"
        assert await ids(b) == ["x"]
        a.faults.heal()


async def test_a_post_waits_for_a_gate_that_is_not_there_yet(tmp_path):
    bind = Tcp("127.0.0.1", free_port())
    async with Client(bind.url) as client:
        posting = asyncio.create_task(client.enqueue("t", id="early", timeout=30))
        await until(lambda: client.gates[0].error is not None)
        async with gate_in(tmp_path / "data", bind=bind) as gate:
            assert (await posting).id == "early"
            assert await ids(gate) == ["early"]


async def test_when_no_gate_is_there_it_is_said_that_nothing_was_accepted_and_why():
    """G3"""
    url = f"http://127.0.0.1:{free_port()}"
    async with Client(url) as client:
        with pytest.raises(Unreachable, match=rf"nothing was accepted.*{url}: cannot connect") as caught:
            await client.enqueue("t", id="x", timeout=0.2)
    assert caught.value.ids == ("x",)
    assert not caught.value.maybe_accepted


# -------------------------------------------------------------------------------------- Unix socket


async def test_a_gate_on_this_host_is_asked_through_its_socket_and_before_all_others(tmp_path, tmp_path_factory):
    """G7"""
    path = tmp_path_factory.mktemp("s") / "c.sock"
    async with (
        gate_in(tmp_path / "tcp", zone="a") as far,
        gate_in(tmp_path / "unix", zone="b", bind=Unix(path)) as here,
        Client([far.url, f"unix:{path}"], zone="a") as client,
    ):
        await until(lambda: up(client, f"unix:{path}"))
        await client.enqueue("t", id="x")
        assert (await ids(here), await ids(far)) == (["x"], [])


async def test_a_socket_that_nobody_listens_on_is_as_a_gate_that_is_away(tmp_path):
    async with Client(f"unix:{tmp_path}/none.sock") as client:
        with pytest.raises(Unreachable, match="No such file"):
            await client.enqueue("t", timeout=0.2)
