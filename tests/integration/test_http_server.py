"""The HTTP server as a guest: ports, sockets, slow and greedy clients, an end without a trace (G8, G10)."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.responses import Response
from starlette.routing import Route
from support.gates import SERVER, gate_in, job, problem, until
from support.sockets import open_files

from forebay.actors.gate.binding import CannotBind, PortTaken
from forebay.actors.gate.http_server import HttpServer
from forebay.actors.gate.messages import Tcp, Unix, WhereBound
from forebay.actors.gate.protocol import HttpLimits
from forebay.actors.process import Limits
from forebay.actors.web import web_app
from forebay.supervisors.runtime import Ending, Runtime, RuntimeStartFailed
from forebay.supervisors.spec import ChildSpec, SupervisorSpec

HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


async def answer(reader):
    """The status and the rest of a connection that the server closes."""
    text = await asyncio.wait_for(reader.read(), 10.0)
    return (int(text.split()[1]) if text else None), text


async def one_answer(reader):
    """One answer on a connection that stays open."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10.0)
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    return int(head.split()[1]), await asyncio.wait_for(reader.readexactly(length), 10.0)


def serving(bind, routes=(), **limits):
    """A runtime with nothing but an HTTP server, at /http."""
    start = partial(HttpServer, app=lambda _: web_app(routes), bind=bind, limits=HttpLimits(**limits))
    return Runtime(SupervisorSpec(children=(ChildSpec("http", start, limits=Limits(shutdown=8.0)),)))


@pytest.fixture
async def gate(tmp_path):
    limits = HttpLimits(header_timeout=0.3, keep_alive=0.3, linger=0.3, max_connections=20)
    async with gate_in(tmp_path, limits=limits, body_timeout=0.3, max_body=1024) as running:
        yield running


# ------------------------------------------------------------------------------------- slow clients


async def test_headers_that_do_not_come_to_an_end_are_408(gate):
    reader, writer = await gate.connect()
    writer.write(HEAD)
    assert (await answer(reader))[0] == 408
    writer.close()


async def test_headers_in_drips_do_not_prolong_their_time(gate):
    reader, writer = await gate.connect()

    async def drip():
        for byte in HEAD * 100:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    dripping = asyncio.ensure_future(drip())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10.0)  # not to the end: what drips on may reset it
    assert int(head.split()[1]) == 408
    dripping.cancel()
    writer.close()


async def test_a_connection_that_says_nothing_is_closed(gate):
    reader, writer = await gate.connect()
    assert await answer(reader) == (None, b"")
    writer.close()


async def test_a_body_that_does_not_come_to_an_end_is_408_and_accepts_nothing(gate):
    reader, writer = await gate.connect()
    writer.write(HEAD + b"Content-Length: 100\r\n\r\n" + job()[:-1])
    status, text = await answer(reader)
    assert status == 408
    assert b"urn:forebay:problem:slow-client" in text
    assert await gate.records() == []
    writer.close()


async def test_an_idle_connection_is_closed_after_its_last_answer(gate):
    reader, writer = await gate.connect()
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(job()) + job())
    assert (await one_answer(reader))[0] == 202
    assert await answer(reader) == (None, b"")
    writer.close()


async def test_the_second_request_of_a_connection_has_its_own_time_for_headers(gate):
    reader, writer = await gate.connect()
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(job()) + job() + b"POST /v1/jo")
    assert (await one_answer(reader))[0] == 202
    assert (await answer(reader))[0] == 408
    writer.close()


async def test_pipelined_requests_are_answered_in_order(gate):
    reader, writer = await gate.connect()
    for name in ("one", "two"):
        body = job(id=name)
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    answers = [await one_answer(reader), await one_answer(reader)]
    assert [(status, name in body) for (status, body), name in zip(answers, [b'"one"', b'"two"'], strict=True)] == [
        (202, True)
    ] * 2
    writer.close()


async def test_a_client_that_reads_no_answers_is_cut_off():
    async def big(_request):
        return Response(b"x" * 2**20)

    bind = Tcp("127.0.0.1", 0)
    async with serving(bind, [Route("/big", big)], write_timeout=0.3) as runtime:
        where = urlsplit(await runtime.ref("/http").ask(WhereBound(), 5.0))
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, (where.hostname, where.port))
            requests = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n" * 10**6  # more than all buffers on the way hold
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(loop.sock_sendall(client, requests), 10.0)
        await until(lambda: not open_connections(runtime, "/http"))


async def test_a_client_that_leaves_in_the_middle_of_its_body_disturbs_nothing(gate, caplog):
    _, writer = await gate.connect()
    writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
    await writer.drain()
    await until(tasks_of_requests)
    writer.transport.abort()
    await until(lambda: not tasks_of_requests())
    assert (await gate.post("/v1/jobs", job())).status_code == 202
    assert caplog.records == []


def tasks_of_requests():
    return [t for t in asyncio.all_tasks() if "run_asgi" in getattr(t.get_coro(), "__qualname__", "")]


# ------------------------------------------------------------------------------------ large and many


async def test_a_body_declared_too_large_is_refused_before_it_is_sent(gate):
    reader, writer = await gate.connect()
    writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: 1025\r\n\r\n")
    status, text = await answer(reader)
    assert status == 413
    assert text.startswith(b"HTTP/1.1 413")  # and no 100 before it
    writer.close()


async def test_a_client_that_asks_first_is_told_to_continue(gate):
    reader, writer = await gate.connect()
    writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(job()))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(job())
    assert (await one_answer(reader))[0] == 202
    writer.close()


async def test_a_body_of_unknown_length_is_accepted_up_to_the_limit(gate):
    async def chunks(size):
        yield b'{"type": "t", "args": "'
        for _ in range(size):
            yield b"x" * 100
        yield b'"}'

    headers = {"content-type": "application/json"}
    assert (await gate.client.post("/v1/jobs", content=chunks(9), headers=headers)).status_code == 202
    assert problem(await gate.client.post("/v1/jobs", content=chunks(12), headers=headers)) == (413, "body-too-large")


async def test_a_client_that_goes_on_after_413_gets_the_answer_and_a_bounded_hearing(gate):
    reader, writer = await gate.connect()
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")

    async def pour():
        while not writer.is_closing():
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    pouring = asyncio.ensure_future(pour())
    assert (await one_answer(reader))[0] == 413
    with suppress(ConnectionError):  # or the loop above sees the closed connection first
        await asyncio.wait_for(pouring, 10.0)
    assert pouring.done()
    writer.close()


async def test_headers_too_large_are_431(gate):
    reader, writer = await gate.connect()
    writer.write(HEAD + b"X: " + b"x" * 17 * 1024)
    assert (await answer(reader))[0] == 431
    writer.close()


async def test_what_is_not_http_is_400(gate):
    reader, writer = await gate.connect()
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    status, text = await answer(reader)
    assert (status, b"urn:forebay:problem:malformed-request" in text) == (400, True)
    writer.close()


async def test_connections_over_the_bound_are_told_so_and_those_far_over_it_are_cut(tmp_path):
    """G8"""
    async with gate_in(tmp_path, limits=HttpLimits(max_connections=2, header_timeout=5.0)) as gate:
        held = [await gate.connect() for _ in range(2)]
        for _, writer in held:
            writer.write(b"POST")
        over = [await gate.connect() for _ in range(2)]
        cut_reader, cut = await gate.connect()
        with contextlib.suppress(ConnectionResetError):
            assert await cut_reader.read() == b""
        cut.close()
        for reader, writer in over:
            writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
            status, text = await answer(reader)
            assert (status, b"retry-after: 1" in text) == (503, True)
            writer.close()
        for _, writer in held:
            writer.close()
        await until(lambda: not open_connections(gate.runtime))
        assert (await gate.post("/v1/jobs", job())).status_code == 202


def open_connections(runtime, server=SERVER):
    return runtime.system.cell(server).process.actor._connections.connections


async def test_bodies_in_memory_are_bounded_over_all_requests(tmp_path, monkeypatch):
    """G8: the third body is refused before it is read, and there is room again when one is answered."""
    monkeypatch.setattr("forebay.actors.gate.app.BODY_BUDGET", 2048)
    async with gate_in(tmp_path, max_body=1024) as gate:
        gate.faults.silent = True
        body = job(args="x" * 900)
        held = [asyncio.ensure_future(gate.post("/v1/jobs", body)) for _ in range(2)]
        await until(lambda: gate.handled() == 2)
        reader, writer = await gate.connect()
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        status, text = await answer(reader)
        assert (status, b"retry-after: 1" in text, text.startswith(b"HTTP/1.1 503")) == (503, True, True)
        writer.close()
        gate.faults.silent = False
        assert [(await one).status_code for one in held] == [202, 202]
        assert (await gate.post("/v1/jobs", body)).status_code == 202


async def test_bodies_that_are_declared_and_do_not_come_keep_nobody_out(tmp_path, monkeypatch):
    """G8"""
    monkeypatch.setattr("forebay.actors.gate.app.BODY_BUDGET", 2048)
    async with gate_in(tmp_path, max_body=1024, body_timeout=60.0) as gate:
        silent = [await gate.connect() for _ in range(4)]
        for reader, writer in silent:
            writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: 1024\r\n\r\n")
            assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
        assert (await gate.post("/v1/jobs", job())).status_code == 202
        for _, writer in silent:
            writer.close()


# ------------------------------------------------------------------------------------------ the end


async def test_a_stop_answers_the_requests_in_hand(tmp_path):
    async with gate_in(tmp_path) as gate:
        gate.faults.silent = True
        posting = asyncio.ensure_future(gate.post("/v1/jobs", job(id="last")))
        await until(lambda: gate.handled() == 1)
        stopping = asyncio.ensure_future(gate.runtime.stop())
        await until(lambda: gate.runtime.tree().find(SERVER).state.value == "stopping")
        gate.faults.silent = False
        assert (await posting).json()["id"] == "last"
        report = await stopping
        assert report.ending is Ending.CLEAN
        with pytest.raises(httpx.ConnectError):
            await gate.post("/v1/jobs", job())


async def test_a_stop_cuts_off_what_takes_longer_than_its_time(tmp_path):
    async with gate_in(tmp_path, limits=HttpLimits(drain=0.2), request_timeout=60.0) as gate:
        before = set(asyncio.all_tasks())
        gate.faults.silent = True
        posting = asyncio.ensure_future(gate.post("/v1/jobs", job()))
        idle = await gate.connect()
        await until(lambda: gate.handled() == 1)
        report = await gate.runtime.stop(1.0)
        with pytest.raises(httpx.RemoteProtocolError):
            await posting
        assert await idle[0].read() == b""
        idle[1].close()
        assert (report.forced, report.zombies) == (("/gates/producer",), ())  # it waits for a log that never answers
        assert not {t for t in asyncio.all_tasks() - before if not t.done() and t is not asyncio.current_task()} - {posting}


async def test_many_lives_in_one_process_leave_no_descriptor_task_signal_handler_or_logging_behind(tmp_path):
    def signals():
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def loggers():
        names = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "forebay.http")
        return [(x.level, list(x.handlers), x.propagate) for x in map(logging.getLogger, names)]

    async def life(bind):
        async with gate_in(tmp_path / "data", bind=bind) as gate:
            if isinstance(bind, Tcp):
                assert (await gate.post("/v1/jobs", job())).status_code == 202

    await life(Tcp("127.0.0.1", 0))
    handlers, logs = signals(), loggers()
    tasks, files = len(asyncio.all_tasks()), open_files()
    for bind in (Tcp("127.0.0.1", 0), Unix(tmp_path / "s"), Tcp("127.0.0.1", 0), Unix(tmp_path / "s")):
        await life(bind)
    gc.collect()
    assert (signals(), loggers()) == (handlers, logs)
    assert (len(asyncio.all_tasks()), open_files()) == (tasks, files)


# ----------------------------------------------------------------------------------------- addresses


async def test_a_taken_port_is_an_error_with_advice_and_the_host_lives(tmp_path):
    async with gate_in(tmp_path) as gate:
        port = int(gate.url.rsplit(":", 1)[1])
        with pytest.raises(
            RuntimeStartFailed, match=f"port {port} is taken: stop the program that has it, or choose another"
        ):
            async with serving(Tcp("127.0.0.1", port)):
                pass
        assert (await gate.post("/v1/jobs", job())).status_code == 202


@pytest.mark.parametrize(
    ("bind", "advice"),
    [
        (Tcp("192.0.2.1", 0), "not of this machine"),
        (Tcp("x" * 64, 0), "write an IP address"),
        (Unix(Path("/no/such/folder/s")), "folder does not exist"),
        (Unix(Path("/tmp/" + "x" * 200)), "choose a shorter data folder"),
    ],
)
async def test_an_address_that_cannot_be_bound_is_an_error_with_advice(bind, advice):
    with pytest.raises(RuntimeStartFailed, match=advice):
        async with serving(bind):
            pass


async def test_an_ipv6_address_can_be_bound(tmp_path):
    if not socket.has_ipv6 or "00000000000000000000000000000001" not in Path("/proc/net/if_inet6").read_text():
        pytest.skip("this machine has no IPv6 loopback")
    async with gate_in(tmp_path, bind=Tcp("::1", 0)) as gate:
        assert gate.url.startswith("http://[::1]:")
        assert (await gate.post("/v1/jobs", job())).status_code == 202


async def test_a_unix_socket_is_for_its_owner_works_and_is_removed(tmp_path):
    path = tmp_path / "control.sock"
    async with gate_in(tmp_path / "data", bind=Unix(path)) as gate:
        assert gate.url == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://x") as client:
            assert (await client.post("/v1/jobs", json={"type": "t"})).status_code == 202
    assert not path.exists()


async def test_a_stale_unix_socket_is_replaced_and_a_used_one_is_not(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(Unix(path)) as runtime:
        assert await runtime.ref("/http").ask(WhereBound(), 5.0) == f"unix:{path}"
        with pytest.raises(RuntimeStartFailed, match="another program listens there"):
            async with serving(Unix(path)):
                pass
        assert path.exists()


async def test_another_file_in_the_place_of_a_unix_socket_is_left_alone(tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(RuntimeStartFailed, match="move it away"):
        async with serving(Unix(path)):
            pass
    assert path.read_text() == "precious"


def test_a_taken_port_is_one_of_the_addresses_that_cannot_be_bound():
    assert issubclass(PortTaken, CannotBind)


async def test_a_fault_of_the_app_is_500_logged_and_ends_nothing(tmp_path, caplog):
    async def broken(_request):
        raise KeyError("a bug")

    async with serving(Tcp("127.0.0.1", 0), [Route("/x", broken)]) as runtime, httpx.AsyncClient() as client:
        url = await runtime.ref("/http").ask(WhereBound(), 5.0)
        assert problem(await client.get(f"{url}/x")) == (500, "internal")
        assert problem(await client.get(f"{url}/y")) == (404, "no-such-route")
    assert [record.name for record in caplog.records] == ["forebay.http"]
    assert "a bug" in caplog.text
