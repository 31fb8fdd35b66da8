"""The gate's HTTP API, as docs/http.md describes it.

A positive answer is given after the log has acknowledged, and never otherwise (row G3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.actors import problems
from forebay.actors.bodies import Bodies, require_json
from forebay.actors.context import Context
from forebay.actors.gate import requests
from forebay.actors.gate.messages import Append
from forebay.actors.gate.records import JobRecord, record_for, topic_named
from forebay.actors.mailbox import ActorStopped, MailboxFull
from forebay.actors.problems import Json, Problem, of_backend
from forebay.actors.ref import ActorDied, AskTimeout
from forebay.backends.errors import BackendError, RecordTooLarge
from forebay.backends.ports import Acks, Headers, NewRecord
from forebay.config import GateConfig, TopicConfig
from forebay.jobs import InvalidJob, JobPost, new_ulid, parse_batch, parse_post

BODY_BUDGET: Final = 64 * 2**20
"""Bytes of request bodies that a gate holds at once."""


def gate_routes(
    ctx: Context,
    *,
    producer: str,
    topics: Sequence[TopicConfig],
    config: GateConfig,
    offers: Callable[[str], Mapping[Acks, str]],
    known_types: frozenset[str] | None = None,
) -> list[Route]:
    """What a gate answers to. `producer` is that actor's path; jobs go to the first of `topics` unless told otherwise.

    `offers` is the log's: what answers say of a record of a topic acknowledged with these acks. With `known_types`, a job
    of any other type is refused.
    """
    bodies = Bodies(max_body=config.max_body, timeout=config.body_timeout, budget=BODY_BUDGET)
    appender = _Appender(ctx, producer, config.request_timeout, offers)
    gate = _Gate(ctx, bodies, appender, tuple(topics), config.batch_limit, known_types, config.zone)
    return [
        Route("/v1/gate", gate.describe, methods=["GET"]),
        Route("/v1/jobs", gate.post_job, methods=["POST"]),
        Route("/v1/batch", gate.post_batch, methods=["POST"]),
        Route("/v1/topics/{topic}/partitions/{partition}", gate.post_raw, methods=["POST"]),
    ]


@frozen
class _Appender:
    """Puts records into the log through the producer, and says how that went."""

    ctx: Context
    producer: str
    timeout: float
    offers: Callable[[str], Mapping[Acks, str]]

    async def append(self, records: Sequence[NewRecord], acks: Acks) -> list[dict[str, Any]]:
        """Where each record is now. Raises `Problem`: nothing was accepted then, or it is UNKNOWN_OUTCOME."""
        offsets = await self._offsets(Append(tuple(records), acks))
        return [
            {
                "topic": record.topic,
                "partition": record.partition,
                "offset": offset,
                "durability": self._durability(record.topic, acks),
            }
            for record, offset in zip(records, offsets, strict=True)
        ]

    def _durability(self, topic: str, acks: Acks) -> str:
        """Never more than the topic keeps: what it offers may have become known while the record was on its way."""
        offered = self.offers(topic)
        return offered.get(acks, offered[Acks.LEADER])

    async def _offsets(self, append: Append) -> tuple[int, ...]:
        try:
            answer: tuple[int, ...] = await self.ctx.lookup(self.producer).ask(append, self.timeout)
        except BackendError as error:
            raise of_backend(error) from error
        except MailboxFull as error:
            raise Problem(problems.OVERLOADED, "the gate is busy; nothing was accepted, send it again later") from error
        except (ActorStopped, LookupError) as error:
            raise Problem(problems.UNAVAILABLE, "the gate is stopping or restarting; nothing was accepted") from error
        except (AskTimeout, ActorDied) as error:
            detail = f"no answer from the log ({error}); send it again with the same id, one job while unfinished"
            raise Problem(problems.UNKNOWN_OUTCOME, detail) from error
        return answer


@frozen
class _Gate:
    ctx: Context
    bodies: Bodies
    appender: _Appender
    topics: tuple[TopicConfig, ...]
    batch_limit: int
    known_types: frozenset[str] | None
    zone: str

    async def describe(self, _request: Request) -> Response:
        """Where this gate stands and what it takes, for clients that choose among gates (row G7)."""
        topics = [
            {"name": topic.name, "partitions": topic.partitions, "acks": topic.acks, "max_record": topic.max_record}
            for topic in self.topics
        ]
        return Json({"zone": self.zone, "topics": topics, "batch_limit": self.batch_limit}, 200)

    async def post_job(self, request: Request) -> Response:
        """One job: 202 with its id and place."""
        topic, acks = self._choice(request)
        require_json(request)
        key = requests.idempotency_key(request)
        async with self.bodies.read(request) as body:
            try:
                post = requests.with_key(parse_post(body), key)
            except InvalidJob as error:
                raise requests.invalid(error) from None
            job = self._job(post, topic, requests.trace(request))
            (place,) = await self.appender.append([job.record], acks)
        return Json({"id": job.id, **place}, 202)

    async def post_batch(self, request: Request) -> Response:
        """Many jobs: 202 if all were accepted, 207 if some, 422 if none; a result for each, in order."""
        topic, acks = self._choice(request)
        require_json(request)
        if requests.idempotency_key(request) is not None:
            detail = "Idempotency-Key speaks of one job; in a batch give each job its own id"
            raise Problem(problems.BAD_PARAMETER, detail)
        async with self.bodies.read(request) as body:
            headers = requests.trace(request)
            items = [self._item(post, topic, headers) for post in self._posts(body)]
            records = [item.record for item in items if isinstance(item, JobRecord)]
            places = iter(await self.appender.append(records, acks) if records else ())
        return _batch_answer([_result(item, places) for item in items], len(records))

    async def post_raw(self, request: Request) -> Response:
        """Bytes, as they are, into one partition: 200 with the offset (row G1)."""
        requests.require_own_site(request)
        topic = self._topic(request.path_params["topic"])
        acks = requests.acks(topic, requests.parameters(request, "acks"))
        partition = requests.partition(request.path_params["partition"], topic)
        async with self.bodies.read(request) as body:
            (place,) = await self.appender.append([NewRecord(topic.name, partition, body)], acks)
        return Json(place, 200)

    # --- topics

    def _choice(self, request: Request) -> tuple[TopicConfig, Acks]:
        given = requests.parameters(request, "topic", "acks")
        topic = self._topic(given.get("topic", self.topics[0].name))
        return topic, requests.acks(topic, given)

    def _topic(self, name: str) -> TopicConfig:
        try:
            return topic_named(name, self.topics)
        except BackendError as error:
            raise of_backend(error, topics=[topic.name for topic in self.topics]) from None

    # --- jobs

    def _job(self, post: JobPost, topic: TopicConfig, headers: Headers) -> JobRecord:
        requests.check_type(post.type, self.known_types)
        now = self.ctx.wall()

        def new_id() -> str:
            return new_ulid(now, self.ctx.random)

        try:
            return record_for(post, topic=topic.name, topics=self.topics, now=now, new_id=new_id, headers=headers)
        except RecordTooLarge as error:
            raise of_backend(error) from None

    def _posts(self, body: bytes) -> list[JobPost | InvalidJob]:
        try:
            posts = parse_batch(body, self.batch_limit)
        except InvalidJob as error:
            raise requests.invalid(error) from None
        if len(posts) > self.batch_limit:
            detail = f"the batch has more than {self.batch_limit} jobs; send several"
            raise Problem(problems.BATCH_TOO_LONG, detail)
        return posts

    def _item(self, post: JobPost | InvalidJob, topic: TopicConfig, headers: Headers) -> JobRecord | Problem:
        if isinstance(post, InvalidJob):
            return requests.invalid(post)
        try:
            return self._job(post, topic, headers)
        except Problem as problem:
            return problem


def _result(item: JobRecord | Problem, places: Iterator[dict[str, Any]]) -> dict[str, Any]:
    if isinstance(item, JobRecord):
        return {"status": 202, "id": item.id, **next(places)}
    return item.body()


def _batch_answer(results: list[dict[str, Any]], accepted: int) -> Response:
    refused = len(results) - accepted
    counts: dict[str, Any] = {"accepted": accepted, "refused": refused, "results": results}
    if refused and not accepted:
        return Problem(problems.BATCH_REFUSED, "results says for each job why it was refused", extra=counts).response()
    return Json(counts, 207 if refused else 202)
