"""The client where answers are late, lost, cut off or no gate's: one job of each id, never a false yes (G3, G7)."""

import asyncio
import logging
import subprocess
import sys

import pytest
from support.gates import gate_in, until
from support.live import eventually
from support.stand_ins import Late, accepted, refused, stand_in

from forebay import Runtime
from forebay.backends.ports import JobState, Want
from forebay.client import Client, NewJob, Refused, TimedOut, Unreachable
from forebay.scenarios.servers import Proxy


def port_of(url):
    return int(url.rpartition(":")[2])


async def records_in(log, topic="jobs"):
    connection = await log.connect(topic)
    try:
        extents = {n: extent for n, extent in (await connection.extents()).items() if extent.end > extent.start}
        fetched = await connection.fetch({n: Want(extent.start, 100) for n, extent in extents.items()}, 0)
        return [record for n in extents for record in fetched[n]]
    finally:
        await connection.close()


# --------------------------------------------------------------------------------- answers get lost


async def test_an_answer_cut_off_in_the_middle_leads_to_one_job(tmp_path):
    """G7: the record is in the log twice, under one id, and the queue has one job of it."""
    config = {"data": str(tmp_path), "gate": {"port": 0}, "console": False, "workers": False}
    async with Runtime.from_config(config) as runtime, Proxy(port_of(await runtime.gate_url())) as proxy:
        async with Client(f"http://127.0.0.1:{proxy.port}", patience=20) as client:
            await until(lambda: client.gates[0].up)
            proxy.rate = 200  # bytes per second: an answer takes a second and more
            posting = asyncio.create_task(client.enqueue("t", {"n": 1}, timeout=30))

            async def in_the_log():
                return len(await records_in(runtime.log)) == 1

            await eventually(in_the_log)
            assert not posting.done()
            proxy.cut()
            proxy.rate = None
            await until(lambda: not client.gates[0].up)
            proxy.heal()
            receipt = await posting
        assert len(await records_in(runtime.log)) == 2
        assert receipt.offset == 1
        queue = runtime.queue("jobs")

        async def relayed():
            found = await queue.browse("jobs", JobState.PENDING, 10)
            return [(job.id, job.offset) for job in found] == [(receipt.id, 1)]

        await eventually(relayed)
        assert (await queue.counts("jobs")).unfinished == 1


async def test_when_time_is_up_after_an_answer_was_lost_it_is_not_called_a_no(tmp_path):
    """G3: `maybe_accepted`, and the id to post again with."""
    async with gate_in(tmp_path / "data") as gate, Client(gate.url) as client:
        gate.flaky.muted.add("append")
        with pytest.raises(TimedOut, match="not known; post it again with the same id") as caught:
            await client.enqueue("t", timeout=0.3)
        assert caught.value.maybe_accepted
        gate.flaky.muted.clear()
        (id_,) = caught.value.ids
        assert (await client.enqueue("t", id=id_)).id == id_
        assert {record.partition for record in await gate.records()} == {(await gate.records())[0].partition}


async def test_a_gate_that_does_not_answer_in_time_is_left_for_another(tmp_path):
    """G7: the patience with one gate is shorter than the time for the post."""
    async with (
        gate_in(tmp_path / "a", zone="a") as slow,
        gate_in(tmp_path / "b", zone="b") as other,
        Client([slow.url, other.url], zone="a", patience=0.2) as client,
    ):
        await until(lambda: all(view.up for view in client.gates))
        slow.faults.silent = True
        await client.enqueue("t", timeout=30)
        assert len(await other.records()) == 1


async def test_a_gate_that_is_slow_at_every_attempt_is_given_more_time_with_each():
    """Else a log that needs longer than the patience would never be waited for."""
    async with stand_in(Late(0.5, accepted("x"))) as gate, Client(gate.url, patience=0.1) as client:
        assert (await client.enqueue("t", id="x", timeout=60)).id == "x"
        assert len(gate.posts) > 1


# ------------------------------------------------------------------------------- refused for the moment


@pytest.mark.parametrize(
    "no", [refused(503, "overloaded", **{"retry-after": "1"}), (429, {"retry-after": "1"}, b"slow down")]
)
async def test_a_gate_that_asks_for_time_gets_it_and_then_the_same_job(no):
    """G3: 429 and 503 with Retry-After."""
    async with stand_in(no, accepted("x")) as gate, Client(gate.url) as client:
        await client.enqueue("t", id="x")
        first, second = gate.times
        assert second - first >= 1.0
        assert gate.posts == [{"type": "t", "id": "x", "args": {}}] * 2


async def test_a_gate_that_asks_for_more_time_than_there_is_ends_the_post_at_once():
    async with stand_in(refused(503, "overloaded", **{"retry-after": "60"})) as gate, Client(gate.url) as client:
        with pytest.raises(Unreachable, match="nothing was accepted"):
            await client.enqueue("t", timeout=30)
        with pytest.raises(Unreachable):
            await client.enqueue("t", timeout=30)
        assert len(gate.posts) == 1


async def test_while_one_gate_asks_for_time_another_is_asked():
    async with stand_in(refused(503, "unavailable", **{"retry-after": "60"})) as a, stand_in(accepted("x")) as b:
        async with Client([a.url, b.url], zone="a") as client:
            for _ in range(20):
                await client.enqueue("t", id="x")
        assert len(a.posts) <= 1
        assert len(b.posts) == 20


async def test_a_refusal_after_a_lost_answer_says_that_the_job_may_be_in():
    """G3: no false no either."""
    no = refused(422, "unknown-type")
    async with stand_in(refused(500, "internal"), no) as gate, Client(gate.url) as client:
        with pytest.raises(Refused) as caught:
            await client.enqueue("t")
        assert caught.value.maybe_accepted
        with pytest.raises(Refused) as caught:
            await client.enqueue("t")
        assert not caught.value.maybe_accepted


@pytest.mark.parametrize("cut", [b"", b"HTTP/1.1 202 Accepted\r\ncontent-length: 500\r\n\r\n{", b"SSH-2.0-x\r\n"])
async def test_a_connection_that_ends_before_a_whole_answer_is_no_answer(cut):
    async with stand_in(cut, accepted("x")) as gate, Client(gate.url) as client:
        assert (await client.enqueue("t", id="x")).id == "x"
        assert gate.posts[0] == gate.posts[-1]
        assert len(gate.posts) >= 2


async def test_after_a_lost_answer_a_refusal_for_the_moment_makes_nothing_known():
    """G3: the first attempt may be in, whatever the second was told."""
    async with stand_in(b"", refused(503, "overloaded", **{"retry-after": "60"})) as gate, Client(gate.url) as client:
        with pytest.raises(TimedOut):
            await client.enqueue("t", timeout=20)


# ------------------------------------------------------------------------------- what is no gate at all


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("yes", [(200, {}, {"ok": True}), (202, {}, b"<html>"), accepted("another")])
async def test_a_yes_that_is_no_receipt_is_not_believed(yes, batch):
    """G3: never a false yes."""
    async with stand_in(yes) as gate, Client(gate.url) as client:
        post = (
            client.enqueue_batch([NewJob("t", id="x")], timeout=0.3) if batch else client.enqueue("t", id="x", timeout=0.3)
        )
        with pytest.raises(TimedOut, match="no gate's answer"):
            await post


async def test_a_server_that_is_no_gate_is_never_posted_to():
    async with stand_in(accepted("x"), gate=b"<html>hello</html>") as other, Client(other.url) as client:
        with pytest.raises(Unreachable, match="something that is no gate"):
            await client.enqueue("t", id="x", timeout=0.3)
        assert other.posts == []


# -------------------------------------------------------------------------- many posts, and a gate on trial


async def test_no_more_connections_than_allowed_are_opened_for_any_number_of_posts():
    async with stand_in(accepted("x")) as gate, Client(gate.url, connections=3) as client:
        await asyncio.gather(*(client.enqueue("t", id="x") for _ in range(50)))
        assert len(gate.posts) == 50
        assert gate.most_open <= 4  # and one for the probe


async def test_a_gate_that_answers_probes_and_nothing_else_gets_one_post_at_a_time():
    """G7: a gate of the own zone that is not well costs one post a wait now and then, not all."""
    async with stand_in(None) as sick, stand_in(accepted("x"), gate=b'{"zone": "b"}') as well:
        async with Client([sick.url, well.url], zone="a", patience=0.3) as client:
            await until(lambda: all(view.up for view in client.gates))
            await client.enqueue("t", id="x", timeout=30)
            assert len(sick.posts) == 1
            for _ in range(5):
                await until(lambda: client.gates[0].up)
                before = len(sick.posts)
                await asyncio.gather(*(client.enqueue("t", id="x", timeout=30) for _ in range(20)))
                assert len(sick.posts) - before <= 2  # the second one if its rest was over within the wait
        assert len(well.posts) == 101


async def test_a_gate_that_fails_and_comes_back_is_told_in_the_log_once_each(caplog):
    caplog.set_level(logging.INFO, "forebay.client")
    async with stand_in(refused(503, "overloaded"), accepted("x")) as gate, Client(gate.url) as client:
        await client.enqueue("t", id="x")
    assert [record.message for record in caplog.records] == [
        f"gate {gate.url} is left alone for now: 503: D",
        f"gate {gate.url} answers again",
    ]


# ------------------------------------------------------------------------------------------- endings


def tasks_of_clients():
    """Tasks of this loop that belong neither to the test nor to a server that it started."""
    return [task for task in asyncio.all_tasks() if "StandIn.serve" not in repr(task) and "/api/client/" in repr(task)]


async def test_closing_leaves_no_task_and_no_socket(tmp_path):
    """G7"""
    async with gate_in(tmp_path / "data") as gate:
        async with Client([gate.url, "http://127.0.0.1:1", f"unix:{tmp_path}/none"]) as client:
            await asyncio.gather(*(client.enqueue("t") for _ in range(20)))
            assert tasks_of_clients()
            sockets = [connection._writer.get_extra_info("socket") for connection in client._gates._gates[0]._open]
            assert sockets
        assert tasks_of_clients() == []
        assert {one.fileno() for one in sockets} == {-1}


async def test_posts_under_way_end_with_the_client_and_say_what_is_known():
    """G3"""
    async with stand_in(None) as silent:
        async with Client(silent.url, connections=20) as client:
            posts = [asyncio.create_task(client.enqueue("t", timeout=60)) for _ in range(30)]
            await until(lambda: len(silent.posts) == 20)
        ends = await asyncio.gather(*posts, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["TimedOut"] * 20 + ["Unreachable"] * 10
        assert all("the client was closed" in str(end) for end in ends)
        assert tasks_of_clients() == []


async def test_a_cancelled_post_ends_at_once_and_gives_its_connection_up():
    async with stand_in(None, accepted("x")) as gate, Client(gate.url, connections=1) as client:
        posting = asyncio.create_task(client.enqueue("t", id="x", timeout=60))
        await until(lambda: gate.posts)
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
        assert (await client.enqueue("t", id="x")).id == "x"


async def test_a_start_that_is_cancelled_leaves_nothing():
    async with stand_in(None, gate=None) as silent:
        starting = asyncio.create_task(Client(silent.url, patience=60).__aenter__())
        await until(lambda: silent.open)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert tasks_of_clients() == []
        await until(lambda: not silent.open)


async def test_a_client_is_used_as_a_context_once():
    client = Client("http://127.0.0.1:1")
    with pytest.raises(RuntimeError, match="async with"):
        await client.enqueue("t")
    async with client:
        pass
    with pytest.raises(RuntimeError, match="make another"):
        await client.__aenter__()
    with pytest.raises(Unreachable, match="the client was closed"):
        await client.enqueue("t")


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"connections": 0}])
def test_limits_that_let_nothing_through_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Client("http://127.0.0.1:1", **wrong)


async def test_a_post_needs_time():
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="timeout"):
            await client.enqueue("t", timeout=0)


def test_the_client_loads_neither_the_runtime_nor_a_server_nor_a_store():
    """Who only posts jobs pays for nothing else; and `import forebay` does not load the client."""
    code = "import sys, forebay; a = set(sys.modules); import forebay.client; print(*a); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = (set(line.split()) for line in run.stdout.splitlines())
    assert not any(name.startswith("forebay.client") for name in before)
    ours = {name.split(".")[1] for name in after if name.startswith("forebay.")}
    assert ours == {"client", "jobs", "backends"}
    assert not after & {"starlette", "uvicorn", "aiokafka", "redis", "aiohttp", "sqlite3", "yaml", "opentelemetry"}
