"""The console over real HTTP: health, tree, events, counts and jobs; and what it refuses to pages of other sites."""

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import httpx
import pytest
from support.flaky import Faults, Flaky
from support.gates import problem, until

from forebay.actors.actor import Actor
from forebay.actors.gate.http_server import HttpServer
from forebay.actors.gate.messages import Tcp, WhereBound
from forebay.actors.hosts import own_hosts
from forebay.actors.process import Limits
from forebay.actors.snapshot import State, from_plain
from forebay.actors.watch.console import EVENTS_KEPT, MAX_BODY, console_routes
from forebay.actors.watch.ended import newest_ends
from forebay.actors.watch.repairs import Repairs
from forebay.actors.web import web_app
from forebay.backends.clock import SystemClock
from forebay.backends.ports import ParkedRecord, QueuedJob, Token, TopicSpec, Want
from forebay.backends.sqlite.embedded import open_embedded
from forebay.config import TopicConfig
from forebay.config.values import Backoff, Intensity
from forebay.supervisors.runtime import Ending, Runtime
from forebay.supervisors.spec import ChildSpec, Exhausted, Restart, SupervisorSpec

HERE = own_hosts("127.0.0.1")
TOPICS = [TopicConfig("jobs", partitions=2), TopicConfig("mail", partitions=2)]
NASTY = b'{"a": "\xc3\xa9 <&> \\u00e9"}'


class Worker(Actor):
    async def on_message(self, ctx, message):
        if message == "end":
            ctx.stop()
        else:
            ctx.note("worked", on=message)


class Console:
    def __init__(self, runtime, queue, log, faults, client):
        self.runtime, self.queue, self.log, self.faults, self.client = runtime, queue, log, faults, client

    async def act(self, what, topic="jobs", ids=(), **headers):
        body = json.dumps({"topic": topic, "ids": list(ids)})
        given = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.client.post(f"/jobs/{what}", content=body, headers=given)

    async def park(self, value, headers, error):
        marks = await self.queue.plant("jobs", Token(1, 1))
        start = marks.marks[0].next
        record = ParkedRecord(start, error, value, headers)
        await self.queue.write("jobs", Token(1, 1), marks.epoch, 0, start, start + 1, [record])

    async def ids(self, state):
        jobs = (await self.client.get("/jobs", params={"topic": "jobs", "state": state})).json()["jobs"]
        return [one["id"] for one in jobs]


@asynccontextmanager
async def console_in(folder, hosts=HERE):
    async with open_embedded(folder, SystemClock(), Random(7)) as embedded:
        queue = embedded.queue("main")
        await queue.start()
        await embedded.log.start()
        await embedded.log.ensure([TopicSpec(name, 2, 1e9, 1 << 20) for name in ("jobs", "jobs.retry", "jobs.ends", "mail")])
        faults, log = Faults(Random(7)), Flaky(embedded.log, Faults(Random(8)))
        runtime = None

        def app(_ctx):
            port = Flaky(queue, faults)
            repairs = Repairs(log, {"jobs": port, "mail": port}, TOPICS)
            routes = console_routes(
                tree=runtime.tree,
                events=runtime.events,
                queues={"jobs": port, "mail": port},
                repairs=repairs,
                ends=partial(newest_ends, log),
            )
            return web_app(routes, hosts=hosts)

        server = partial(HttpServer, app=app, bind=Tcp("127.0.0.1", 0))
        workers = SupervisorSpec(
            children=(ChildSpec("steady", Worker), ChildSpec("passing", Worker, Restart.TRANSIENT)),
            intensity=Intensity(0, 1.0),
            exhausted=Exhausted.PARK,
            backoff=Backoff(0.01, 0.02),
        )
        children = (ChildSpec("http", server, limits=Limits(shutdown=8.0)), ChildSpec("workers", workers))
        runtime = Runtime(SupervisorSpec(children=children))
        async with runtime:
            url = await runtime.ref("/http").ask(WhereBound(), 5.0)
            async with httpx.AsyncClient(base_url=url, timeout=10.0) as client:
                yield Console(runtime, queue, log, faults, client)


@pytest.fixture
async def console(tmp_path):
    async with console_in(tmp_path) as running:
        planted = await running.queue.plant("jobs", Token(1, 1))
        items = [QueuedJob(n, f"j{n}", "t", NASTY) for n in range(3)] + [ParkedRecord(3, "not a job", b"\xff\x00")]
        await running.queue.write("jobs", Token(1, 1), planted.epoch, 0, 0, 4, items)
        yield running


# ----------------------------------------------------------------------------------------- looking


async def test_health_is_200_while_everything_runs_or_has_ended_in_order(console):
    assert (await console.client.get("/healthz")).json() == {"healthy": True, "wrong": []}
    console.runtime.ref("/workers/passing").tell("end")
    await until(lambda: console.runtime.tree().find("/workers/passing").state is State.STOPPED)
    assert (await console.client.get("/healthz")).status_code == 200


async def test_health_is_503_and_names_what_does_not_run(console):
    console.runtime.inject("/workers/steady", ValueError("a bug"))
    await until(lambda: console.runtime.tree().find("/workers/steady").state is State.PARKED)
    response = await console.client.get("/healthz")
    assert response.status_code == 503
    wrong = {"path": "/workers/steady", "state": "parked", "last_exit": "failed: ValueError: a bug"}
    assert response.json() == {"healthy": False, "wrong": [wrong]}


async def test_an_error_text_that_utf_8_cannot_write_does_not_blind_the_console(console):
    console.runtime.inject("/workers/steady", ValueError("\ud800"))
    await until(lambda: console.runtime.tree().find("/workers/steady").state is State.PARKED)
    assert (await console.client.get("/healthz")).json()["wrong"][0]["last_exit"] == "failed: ValueError: \ud800"
    assert from_plain((await console.client.get("/tree")).json()).find("/workers") == console.runtime.tree().find("/workers")


async def test_the_tree_can_be_read_back_as_it_was(console):
    console.runtime.ref("/workers/steady").tell("x")
    console.runtime.inject("/workers/passing", ValueError("a bug"))
    await until(lambda: console.runtime.tree().find("/workers/passing").state is State.PARKED)
    read = from_plain((await console.client.get("/tree")).json())
    assert read.find("/workers") == console.runtime.tree().find("/workers")
    assert read.find("/workers/steady").mailbox.handled == 1


async def test_events_are_followed_as_they_happen(console):
    async with console.client.stream("GET", "/events") as response:
        lines = response.aiter_lines()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert await anext(lines) == ": connected"
        console.runtime.ref("/workers/steady").tell("this")
        assert [await anext(lines) for _ in range(2)] == ["", "event: Noted"]
        data = json.loads((await anext(lines)).removeprefix("data: "))
    assert (data["path"], data["name"], data["fields"]) == ("/workers/steady", "worked", {"on": "this"})


async def test_a_reader_who_is_too_slow_is_told_how_much_it_missed(console):
    async with console.client.stream("GET", "/events") as response:
        lines = response.aiter_lines()
        assert await anext(lines) == ": connected"
        before = len(console.runtime.events._listeners)
        for n in range(EVENTS_KEPT + 500):
            console.runtime.events.emit(noted(n))
        assert [await anext(lines) for _ in range(3)] == ["", "event: Missed", 'data: {"count": 500}']
    await until(lambda: len(console.runtime.events._listeners) == before - 1)


def noted(n):
    from forebay.actors.events import Noted

    return Noted(at=0.0, path="/x", name="flood", fields=(("n", n),))


async def test_a_stop_ends_open_event_streams_at_once(console):
    async with console.client.stream("GET", "/events") as response:
        lines = response.aiter_lines()
        assert await anext(lines) == ": connected"
        report = await console.runtime.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in lines:
                pass
    assert report.ending is Ending.CLEAN
    assert report.seconds < 2.0  # of 5 that requests in hand would have


async def test_counts_are_given_by_topic_and_a_queue_that_is_away_says_so(console):
    counts = (await console.client.get("/counts")).json()
    assert counts["jobs"] == {"pending": 3, "delayed": 0, "retrying": 0, "in_flight": 0, "dead": 0, "parked": 1}
    console.faults.down = True
    away = await console.client.get("/counts")
    assert (away.status_code, away.json()["jobs"]) == (200, {"error": "counts was refused"})


async def test_jobs_are_listed_with_their_arguments(console):
    jobs = (await console.client.get("/jobs?topic=jobs&state=pending&limit=2&after=j0")).json()["jobs"]
    assert [(one["id"], one["args"], one["state"]) for one in jobs] == [(f"j{n}", NASTY.decode(), "pending") for n in (1, 2)]
    (parked,) = (await console.client.get("/jobs?topic=jobs&state=parked")).json()["jobs"]
    assert (parked["args_base64"], parked["error"]) == ("/wA=", "not a job")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/jobs", (404, "unknown-topic")),
        ("/jobs?topic=nope", (404, "unknown-topic")),
        ("/jobs?topic=jobs&state=lost", (400, "bad-parameter")),
        ("/jobs?topic=jobs&limit=0", (400, "bad-parameter")),
        ("/jobs?topic=jobs&limit=1001", (400, "bad-parameter")),
        ("/jobs?topic=jobs&limit=1000000000000", (400, "bad-parameter")),
        ("/jobs?topic=jobs&limit=0000000010000000", (400, "bad-parameter")),
        ("/jobs/resubmit", (405, "method-not-allowed")),
        ("/nope", (404, "no-such-route")),
    ],
)
async def test_what_cannot_be_shown_is_a_problem(console, path, answer):
    assert problem(await console.client.get(path)) == answer


async def test_a_queue_that_is_away_is_503(console):
    console.faults.down = True
    assert problem(await console.client.get("/jobs?topic=jobs")) == (503, "unavailable")
    assert problem(await console.act("discard", ids=["x"])) == (503, "unavailable")


# ------------------------------------------------------------------------------------------ acting


async def test_parked_and_dead_jobs_are_discarded_and_others_are_not(console):
    (parked,) = await console.ids("parked")
    assert (await console.act("discard", ids=[parked, "j0", "nobody"])).json() == {"count": 1}
    assert await console.ids("parked") == []
    assert await console.ids("pending") == ["j0", "j1", "j2"]


async def test_only_dead_and_parked_jobs_are_resubmitted_and_what_is_no_job_says_why_it_is_not(console):
    (parked,) = await console.ids("parked")
    answer = (await console.act("resubmit", ids=["j0", parked])).json()
    assert (answer["count"], list(answer["refused"])) == (0, [parked])
    assert "is a job document" in answer["refused"][parked]


async def test_a_job_is_shown_by_its_id_with_its_headers(console):
    await console.park(b'{"a": 1}', (("forebay-type", b"t"), ("trace", b"\xff")), error="too large")
    shown = (await console.client.get("/jobs/show", params={"topic": "jobs", "id": "jobs/0/4"})).json()
    assert (shown["state"], shown["type"], shown["args"], shown["error"]) == ("parked", "t", '{"a": 1}', "too large")
    assert shown["headers"] == [["forebay-type", "t"], ["trace", "\\xff"]]
    assert (await console.client.get("/jobs/show", params={"topic": "jobs", "id": "j1"})).json()["state"] == "pending"
    for query, answer in (({"topic": "jobs", "id": "j9"}, "unknown-job"), ({"id": "j1"}, "unknown-topic")):
        assert problem(await console.client.get("/jobs/show", params=query)) == (404, answer)


async def test_a_repaired_job_is_in_the_log_with_the_bytes_that_were_sent_and_parked_no_more(console):
    """R6, R10."""
    (parked,) = await console.ids("parked")
    query = {"topic": "jobs", "id": parked, "type": "t"}
    json_type = {"content-type": "application/json"}
    refused = await console.client.post("/jobs/repair", params=query, content=b"", headers=json_type)
    assert problem(refused) == (422, "invalid-job")
    answer = await console.client.post("/jobs/repair", params=query, content=NASTY, headers=json_type)
    assert answer.json() == {"topic": "jobs", "partition": 0, "offset": 0}
    connection = await console.log.connect("jobs")
    (record,) = (await connection.fetch({0: Want(0, 9)}, 0.0))[0]
    assert (record.value, dict(record.headers)["forebay-id"]) == (NASTY, parked.encode())
    assert await console.ids("parked") == []


@pytest.mark.parametrize(
    ("query", "headers", "answer"),
    [
        ({"id": "jobs/0/3"}, {}, (415, "wrong-content-type")),
        ({"id": "j1"}, {"content-type": "application/json"}, (422, "invalid-selection")),
        ({"id": "j9"}, {"content-type": "application/json"}, (404, "unknown-job")),
    ],
)
async def test_a_repair_that_cannot_be_is_refused(console, query, headers, answer):
    response = await console.client.post("/jobs/repair", params={"topic": "jobs", **query}, content=b"{}", headers=headers)
    assert problem(response) == answer


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"topic": "jobs", "ids": ', (400, "malformed-json")),
        (b"[" * 5000, (400, "malformed-json")),
        (b"[]", (422, "invalid-selection")),
        (b'{"topic": "jobs"}', (422, "invalid-selection")),
        (b'{"topic": "jobs", "ids": "a"}', (422, "invalid-selection")),
        (b'{"topic": "jobs", "ids": [1]}', (422, "invalid-selection")),
        (json.dumps({"topic": "jobs", "ids": ["x"] * 1001}).encode(), (422, "invalid-selection")),
        (b'{"topic": "nope", "ids": []}', (404, "unknown-topic")),
        (b" " * (MAX_BODY + 1), (413, "body-too-large")),
    ],
)
async def test_an_order_that_says_not_what_is_meant_is_refused(console, body, answer):
    response = await console.client.post("/jobs/discard", content=body, headers={"content-type": "application/json"})
    assert problem(response) == answer


# ------------------------------------------------------------------------------------- other sites


@pytest.mark.parametrize("type_", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_what_a_page_of_another_site_can_send_unasked_changes_nothing(console, type_):
    (parked,) = await console.ids("parked")
    assert problem(await console.act("discard", ids=[parked], content_type=type_)) == (415, "wrong-content-type")
    assert await console.ids("parked") == [parked]


async def test_a_page_that_asks_first_is_not_told_yes(console):
    headers = {"origin": "http://other.example", "access-control-request-method": "POST"}
    response = await console.client.options("/jobs/discard", headers=headers)
    assert response.status_code == 405
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["other.example", "other.example:8081", "127.0.0.1.other.example", ""])
async def test_a_name_that_is_not_ours_is_refused(console, host):
    assert problem(await console.client.get("/tree", headers={"host": host})) == (403, "foreign-host")


@pytest.mark.parametrize("host", ["localhost", "localhost:8081", "LOCALHOST", "127.0.0.1:1", "[::1]:80"])
async def test_a_name_that_is_ours_is_taken(console, host):
    assert (await console.client.get("/healthz", headers={"host": host})).status_code == 200


async def test_without_names_every_host_is_taken(tmp_path):
    async with console_in(tmp_path, hosts=None) as console:
        assert (await console.client.get("/healthz", headers={"host": "any.example"})).status_code == 200


def test_a_server_on_every_address_cannot_know_its_names():
    assert own_hosts("0.0.0.0") is own_hosts("::") is None
    assert own_hosts("192.0.2.7") == {"localhost", "127.0.0.1", "[::1]", "192.0.2.7"}
    assert "[fe80::1]" in own_hosts("fe80::1")


async def test_many_readers_come_and_go_and_leave_no_subscription(console):
    before = len(console.runtime.events._listeners)

    async def look():
        async with console.client.stream("GET", "/events") as response:
            assert await anext(response.aiter_lines()) == ": connected"

    await asyncio.gather(*(look() for _ in range(10)))
    await until(lambda: len(console.runtime.events._listeners) == before)
