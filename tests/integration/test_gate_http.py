"""The gate's answers over real HTTP and the embedded log: what is accepted, what is refused and how (G1-G3, G6, G8)."""

import asyncio
import json
import re
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
from support.gates import ANY_PORT, TOPICS, gate_in, job, problem, until

from forebay.actors.actor import Actor
from forebay.actors.gate.app import gate_routes
from forebay.actors.gate.http_server import HttpServer
from forebay.actors.gate.messages import WhereBound
from forebay.actors.gate.protocol import HttpLimits
from forebay.actors.mailbox import MailboxSpec
from forebay.actors.process import Limits
from forebay.actors.web import web_app
from forebay.backends.errors import Unavailable
from forebay.backends.ports import Acks
from forebay.config import GateConfig
from forebay.config.values import Overflow
from forebay.jobs import decode, partition_of
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, Restart, SupervisorSpec

ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
NASTY = (
    b'{ "html": "<b>&amp;</b> a/b a\\/b", "escaped": "\\u00e9\\ud83d\\ude00", "raw": "'
    + "é😀\u2028".encode()
    + b'", "big": 9007199254740993, "minus": -0, "exp": 1E+2 , "twice": 1, "twice": 2, "text": "'
    + b"x" * 2**20
    + b'"}'
)


@pytest.fixture
async def gate(tmp_path):
    async with gate_in(tmp_path / "data") as running:
        yield running


def decoded(record):
    return decode(record.topic, record.partition, record.offset, record.timestamp, record.value, record.headers)


# ------------------------------------------------------------------------------------------ one job


async def test_a_job_is_answered_with_its_id_and_place_and_lies_there(gate):
    response = await gate.post("/v1/jobs", b'{"type": "mail.send", "args": {"to": "ann"}}')
    answer = response.json()
    assert response.status_code == 202
    assert ULID.fullmatch(answer["id"])
    assert answer == {"id": answer["id"], "topic": "jobs", "offset": 0, "durability": "synced to disk"} | {
        "partition": partition_of(answer["id"], 8)
    }
    (record,) = await gate.records()
    assert (record.partition, record.offset) == (answer["partition"], 0)
    found = decoded(record)
    assert (found.id, found.type, found.args) == (answer["id"], "mail.send", b'{"to": "ann"}')


async def test_arguments_are_kept_byte_for_byte(gate):
    """G1, R10: what two JSON encoders would write differently, numbers beyond a float's, repeated keys, 1 MiB."""
    response = await gate.post("/v1/jobs", b'{"args": ' + NASTY + b', "type": "t"}')
    assert response.status_code == 202
    (record,) = await gate.records()
    assert record.value == NASTY


async def test_raw_bytes_are_kept_as_they_are_whatever_they_are(gate):
    """G1"""
    bodies = [b"", bytes(range(256)), NASTY, b"\xff\xfe not JSON"]
    for offset, body in enumerate(bodies):
        response = await gate.post("/v1/topics/jobs/partitions/3?acks=all", body, content_type="application/x-any")
        assert response.status_code == 200
        assert response.json() == {"topic": "jobs", "partition": 3, "offset": offset, "durability": "synced to disk"}
    records = await gate.records()
    assert [(r.partition, r.offset, r.value, r.headers) for r in records] == [
        (3, n, body, ()) for n, body in enumerate(bodies)
    ]


async def test_the_client_chooses_topic_acks_and_id(gate):
    response = await gate.post("/v1/jobs?topic=mail&acks=all", job(), idempotency_key="order-1")
    assert response.json() == {
        "id": "order-1",
        "topic": "mail",
        "partition": partition_of("order-1", 2),
        "offset": 0,
        "durability": "synced to disk",
    }
    (record,) = await gate.records("mail")
    assert decoded(record).id == "order-1"


async def test_the_body_and_the_header_may_name_the_same_id_but_not_two(gate):
    same = await gate.post("/v1/jobs", job(id="a"), idempotency_key="a")
    other = await gate.post("/v1/jobs", job(id="a"), idempotency_key="b")
    assert same.json()["id"] == "a"
    assert problem(other) == (422, "invalid-job")
    assert len(await gate.records()) == 1


async def test_jobs_of_one_key_share_a_partition(gate):
    answers = [(await gate.post("/v1/jobs", job(key="customer-7"))).json() for _ in range(4)]
    assert {answer["partition"] for answer in answers} == {partition_of("customer-7", 8)}
    assert len({answer["id"] for answer in answers}) == 4


async def test_a_trace_context_goes_with_the_job_and_a_malformed_one_does_not(gate):
    """G10"""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await gate.post("/v1/jobs", job(key="k"), traceparent=parent, tracestate="a=1")
    await gate.post("/v1/jobs", job(key="k"), traceparent="nonsense", tracestate="a=1")
    first, second = [dict(decoded(record).headers) for record in await gate.records()]
    assert first == {"traceparent": parent.encode(), "tracestate": b"a=1"}
    assert second == {}


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("path", "body", "headers", "answer"),
    [
        ("/v1/jobs", b'{"type": "t"', {}, (400, "malformed-json")),
        ("/v1/jobs", b'{"type": "t", "args": {"a": [1, 2,]}}', {}, (400, "malformed-json")),
        ("/v1/jobs", b'{"type": "t", "args": {"a": NaN}}', {}, (400, "malformed-json")),
        ("/v1/jobs", b'{"type": "\xff"}', {}, (400, "malformed-json")),
        ("/v1/jobs", b"", {}, (400, "malformed-json")),
        ("/v1/jobs", b'["t"]', {}, (422, "invalid-job")),
        ("/v1/jobs", b'{"args": 1}', {}, (422, "invalid-job")),
        ("/v1/jobs", b'{"type": "t", "colour": 1}', {}, (422, "invalid-job")),
        ("/v1/jobs", b'{"type": "t", "delay": -1}', {}, (422, "invalid-job")),
        ("/v1/jobs", b'{"type": "t", "args": ' + b"[" * 101 + b"]" * 101 + b"}", {}, (422, "invalid-job")),
        ("/v1/jobs", b'{"type": "t", "dedup": true, "args": {"\\ud800": 1, "\\ud800": 2}}', {}, (422, "invalid-job")),
        ("/v1/nothing", b"", {"host": "["}, (404, "no-such-route")),
        ("/v1/jobs", job(), {"content_type": "text/plain"}, (415, "wrong-content-type")),
        ("/v1/jobs", job(), {"content_type": "application/json; charset=latin-1"}, (415, "wrong-content-type")),
        ("/v1/jobs", job(), {"content_encoding": "gzip"}, (415, "wrong-content-type")),
        ("/v1/jobs", job(), {"idempotency_key": ""}, (400, "bad-parameter")),
        ("/v1/jobs", job(), {"idempotency_key": "x" * 201}, (400, "bad-parameter")),
        ("/v1/jobs?topic=nope", job(), {}, (404, "unknown-topic")),
        ("/v1/jobs?acks=most", job(), {}, (400, "bad-parameter")),
        ("/v1/jobs?acks=all&acks=all", job(), {}, (400, "bad-parameter")),
        ("/v1/jobs?topics=mail", job(), {}, (400, "bad-parameter")),
        ("/v1/jobs?topic=mail", job(args="x" * 1024), {}, (413, "record-too-large")),
        ("/v1/batch", b'{"jobs": [', {}, (400, "malformed-json")),
        ("/v1/batch", b'{"jobs": 1}', {}, (422, "invalid-job")),
        ("/v1/batch", job(), {}, (422, "invalid-job")),
        ("/v1/batch", b'{"jobs": []}', {"idempotency_key": "a"}, (400, "bad-parameter")),
        ("/v1/topics/nope/partitions/0", b"x", {}, (404, "unknown-topic")),
        ("/v1/topics/jobs/partitions/8", b"x", {}, (404, "unknown-partition")),
        ("/v1/topics/jobs/partitions/-1", b"x", {}, (404, "unknown-partition")),
        ("/v1/topics/jobs/partitions/one", b"x", {}, (404, "unknown-partition")),
        ("/v1/topics/jobs/partitions/0?topic=jobs", b"x", {}, (400, "bad-parameter")),
        ("/v1/topics/mail/partitions/0", b"x" * 1025, {}, (413, "record-too-large")),
        ("/v1/nothing", b"x", {}, (404, "no-such-route")),
        ("/v1/jobs/", job(), {}, (404, "no-such-route")),
    ],
)
async def test_bad_input_gets_its_problem_and_disturbs_nothing(gate, path, body, headers, answer):
    assert problem(await gate.post(path, body, **headers)) == answer
    assert (await gate.post("/v1/jobs", job())).status_code == 202
    assert len(await gate.records()) == 1
    assert gate.runtime.tree().find("/gates/producer").incarnation == 1


async def test_an_invalid_job_names_the_field_at_fault(gate):
    body = (await gate.post("/v1/jobs", job(delay="soon"))).json()
    assert (body["field"], body["code"]) == ("delay", "wrong_field")


async def test_a_method_that_a_path_does_not_take_is_told_which_it_takes(gate):
    response = await gate.client.get("/v1/jobs")
    assert problem(response) == (405, "method-not-allowed")
    assert response.headers["allow"] == "POST"


async def test_an_unknown_type_is_refused_where_the_handlers_are_known(tmp_path):
    async with gate_in(tmp_path, known_types=frozenset({"mail.send"})) as gate:
        assert (await gate.post("/v1/jobs", job("mail.send"))).status_code == 202
        response = await gate.post("/v1/jobs", job("mail.sned"))
        assert problem(response) == (422, "unknown-type")
        assert "mail.send" in response.json()["detail"]


# -------------------------------------------------------------------------------------------- batch


async def test_a_batch_is_accepted_whole_in_one_write(gate):
    """G6"""
    response = await gate.post(
        "/v1/batch?topic=mail", json.dumps({"jobs": [{"type": "t", "id": str(n)} for n in range(50)]})
    )
    body = response.json()
    assert (response.status_code, body["accepted"], body["refused"]) == (202, 50, 0)
    assert gate.appends() == 1
    places = {decoded(r).id: (r.partition, r.offset) for r in await gate.records("mail")}
    assert {r["id"]: (r["partition"], r["offset"]) for r in body["results"]} == places


async def test_a_batch_gives_each_job_its_own_result_in_order(gate):
    """G6"""
    items = [
        b'{"type": "t", "id": "1"}',
        b'{"type": 1}',
        b"7",
        job(args="x" * 1024),
        b'{"type": "t", "id": "5", "args": -0}',
    ]
    response = await gate.post("/v1/batch?topic=mail", b'{"jobs": [' + b", ".join(items) + b"]}")
    body = response.json()
    assert response.status_code == 207
    assert [r["status"] for r in body["results"]] == [202, 422, 422, 413, 202]
    assert (body["accepted"], body["refused"]) == (2, 3)
    assert body["results"][3]["type"] == "urn:forebay:problem:record-too-large"
    assert sorted((decoded(r).id, r.value) for r in await gate.records("mail")) == [("1", b"{}"), ("5", b"-0")]


async def test_a_batch_of_which_nothing_was_accepted_is_no_success(gate):
    response = await gate.post("/v1/batch", b'{"jobs": [{"type": 1}, {}]}')
    assert problem(response) == (422, "batch-refused")
    assert [r["status"] for r in response.json()["results"]] == [422, 422]


async def test_an_empty_batch_is_accepted(gate):
    response = await gate.post("/v1/batch", b'{"jobs": []}')
    assert (response.status_code, response.json()) == (202, {"accepted": 0, "refused": 0, "results": []})


async def test_a_batch_over_its_limit_is_refused_whole(tmp_path):
    async with gate_in(tmp_path, batch_limit=2) as gate:
        response = await gate.post("/v1/batch", json.dumps({"jobs": [{"type": "t"}] * 3}))
        assert problem(response) == (413, "batch-too-long")
        assert await gate.records() == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://jobs.example", "Host": "jobs.example"}, 200),
        ({"Origin": "http://jobs.example", "Host": "jobs.example"}, 200),
        ({}, 200),
    ],
)
async def test_a_page_of_another_site_has_no_bytes_sent(gate, headers, status):
    """A browser sends them without asking first, to a gate on this machine too; it asks before it sends JSON."""
    response = await gate.post("/v1/topics/jobs/partitions/0", job(), content_type="text/plain", **headers)
    assert response.status_code == status
    assert len(await gate.records()) == (status == 200)
    if status == 403:
        assert problem(response) == (403, "foreign-site")
    assert problem(await gate.post("/v1/jobs", job(), content_type="text/plain")) == (415, "wrong-content-type")


# -------------------------------------------------------------------------------- never a false yes


async def test_a_log_that_is_away_is_503_with_retry_after_and_nothing_was_accepted(gate):
    """G3"""
    gate.faults.down = True
    for path, body in [
        ("/v1/jobs", job()),
        ("/v1/batch", b'{"jobs": [{"type": "t"}]}'),
        ("/v1/topics/jobs/partitions/0", b"x"),
    ]:
        response = await gate.post(path, body)
        assert problem(response) == (503, "unavailable")
        assert int(response.headers["retry-after"]) >= 1
    gate.faults.heal()
    assert await gate.records() == []
    assert (await gate.post("/v1/jobs", job())).status_code == 202


async def test_a_lost_answer_of_the_log_is_504(gate):
    """G3: the record is there, but the gate cannot know it."""
    gate.faults.lose = 1.0
    assert problem(await gate.post("/v1/jobs", job(id="a"))) == (504, "unknown-outcome")
    gate.faults.heal()
    assert [decoded(record).id for record in await gate.records()] == ["a"]


async def test_a_log_that_does_not_answer_in_time_is_504(tmp_path):
    """G3"""
    async with gate_in(tmp_path, request_timeout=0.1) as gate:
        gate.faults.silent = True
        assert problem(await gate.post("/v1/jobs", job())) == (504, "unknown-outcome")


async def test_a_producer_that_crashes_with_a_request_in_hand_is_504_and_the_gate_recovers(gate):
    gate.faults.silent = True
    posting = asyncio.ensure_future(gate.post("/v1/jobs", job()))
    await until(lambda: gate.handled() == 1)
    gate.runtime.inject("/gates/producer", Unavailable("a bug of the test"))
    assert problem(await posting) == (504, "unknown-outcome")
    gate.faults.heal()
    await until(lambda: gate.runtime.tree().find("/gates/http_server").incarnation == 2)
    await gate.client.aclose()
    await until(lambda: gate.runtime.ref("/gates/http_server").alive)
    await gate.start()
    assert (await gate.post("/v1/jobs", job())).status_code == 202


class Stuck(Actor):
    """Takes one message and is never done with it; `end` ends it."""

    async def on_message(self, ctx, message):
        if message == "end":
            ctx.stop()
        else:
            await asyncio.Event().wait()


@asynccontextmanager
async def gate_before(actor, capacity):
    """A gate whose producer is `actor`, at /producer."""
    mailbox = MailboxSpec(capacity, Overflow.REJECT)

    def app(ctx):
        offers = dict.fromkeys(Acks, "nowhere")
        routes = gate_routes(ctx, producer="/producer", topics=TOPICS, config=GateConfig(), offers=lambda _topic: offers)
        return web_app(routes)

    children = (
        ChildSpec("producer", actor, Restart.TEMPORARY, mailbox=mailbox, limits=Limits(shutdown=0.1)),
        ChildSpec("server", partial(HttpServer, app=app, bind=ANY_PORT, limits=HttpLimits(drain=0.1))),
    )
    async with Runtime(SupervisorSpec(children=children)) as runtime, httpx.AsyncClient(timeout=10.0) as client:
        url = await runtime.ref("/server").ask(WhereBound(), 5.0)
        yield runtime, partial(client.post, f"{url}/v1/jobs", json={"type": "t"})


async def test_a_full_mailbox_is_503_at_once():
    """G8"""
    async with gate_before(Stuck, capacity=1) as (runtime, post):
        held = asyncio.ensure_future(post())
        await until(lambda: runtime.system.busy and not runtime.tree().find("/producer").mailbox.depth)
        runtime.ref("/producer").tell("next")
        assert problem(await post()) == (503, "overloaded")
        held.cancel()


async def test_a_producer_that_is_gone_is_503():
    async with gate_before(Stuck, capacity=1) as (runtime, post):
        runtime.ref("/producer").tell("end")
        await until(lambda: runtime.tree().find("/producer") is None)
        assert problem(await post()) == (503, "unavailable")


async def test_concurrent_posts_share_few_writes(gate):
    gate.faults.silent = True
    posts = [asyncio.ensure_future(gate.post("/v1/jobs", job(id=str(n)))) for n in range(60)]
    await until(lambda: gate.handled() == 60)
    gate.faults.silent = False
    answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {202}
    assert gate.appends() <= 2
    assert {decoded(record).id for record in await gate.records()} == {str(n) for n in range(60)}


async def test_a_full_producer_is_503_with_retry_after(tmp_path):
    """G8"""
    async with gate_in(tmp_path, producer={"max_pending_records": 2}) as gate:
        gate.faults.silent = True
        held = [asyncio.ensure_future(gate.post("/v1/jobs", job())) for _ in range(2)]
        await until(lambda: gate.handled() == 2)
        refused = await gate.post("/v1/jobs", job())
        gate.faults.silent = False
        assert problem(refused) == (503, "overloaded")
        assert "retry-after" in refused.headers
        assert [response.status_code for response in await asyncio.gather(*held)] == [202, 202]
