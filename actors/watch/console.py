"""The console's HTTP API: health, tree, events and jobs, for people and for the CLI (docs/http.md).

It only looks, but for `resubmit`, `repair` and `discard`. Those take JSON and nothing else: a page of another site cannot
send that type without asking first, and nobody here says yes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import attrs
from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from forebay.actors import problems
from forebay.actors.bodies import Bodies, require_json
from forebay.actors.events import Event, EventStream, Noted
from forebay.actors.problems import Json, Problem
from forebay.actors.snapshot import Node, State, to_plain
from forebay.actors.watch.repairs import Repairs
from forebay.backends.end_records import WrittenEnd
from forebay.backends.errors import BackendError
from forebay.backends.ports import JobState, JobView, Queue
from forebay.jobs import Undecodable
from forebay.jobs.envelope import TYPE

MAX_JOBS: Final = 1000
"""Jobs in one answer, and ids in one request."""

MAX_BODY: Final = 4 * 2**20
"""Bytes of a request's body: room for as many ids, and for the arguments of a job as a gate takes them by default."""

BODY_TIMEOUT: Final = 10.0
"""Seconds for a body to arrive."""

EVENTS_KEPT: Final = 1000
"""Events that wait for a slow reader of `/events`; older ones are dropped and counted."""

Ends = Callable[[str, int], Awaitable[Sequence[WrittenEnd]]]
"""Answers a topic and how many at most with its newest dead and parked ones in the log."""


def console_routes(
    *, tree: Callable[[], Node], events: EventStream, queues: Mapping[str, Queue], repairs: Repairs, ends: Ends
) -> list[Route]:
    """What a console answers to. `queues` are by topic; `ends` tells a topic's newest."""
    bodies = Bodies(max_body=MAX_BODY, timeout=BODY_TIMEOUT, budget=8 * MAX_BODY)
    console = _Console(tree, events, queues, repairs, ends, bodies)
    return [
        Route("/healthz", console.healthz),
        Route("/tree", console.show_tree),
        Route("/events", console.follow),
        Route("/counts", console.counts),
        Route("/jobs", console.browse),
        Route("/jobs/show", console.show_job),
        Route("/jobs/ends", console.show_ends),
        Route("/jobs/repair", console.repair, methods=["POST"]),
        Route("/jobs/resubmit", console.resubmit, methods=["POST"]),
        Route("/jobs/discard", console.discard, methods=["POST"]),
    ]


@frozen
class _Console:
    tree: Callable[[], Node]
    events: EventStream
    queues: Mapping[str, Queue]
    repairs: Repairs
    ends: Ends
    bodies: Bodies

    async def healthz(self, _request: Request) -> Response:
        """200 if everything runs, else 503 with what does not."""
        wrong = [node for node in self.tree().walk() if not _well(node)]
        places = [{"path": node.path, "state": node.state.value, "last_exit": node.last_exit} for node in wrong]
        return Json({"healthy": not wrong, "wrong": places}, 503 if wrong else 200)

    async def show_tree(self, _request: Request) -> Response:
        """The tree as it is now."""
        return Json(to_plain(self.tree()))

    async def follow(self, _request: Request) -> Response:
        """Events as they happen, as server-sent events."""
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _stream(self) -> AsyncIterator[str]:
        missed = 0
        async with self.events.subscribe(EVENTS_KEPT) as subscription:
            yield ": connected\n\n"
            async for event in subscription:
                if subscription.missed > missed:
                    yield _sent("Missed", {"count": subscription.missed - missed})
                    missed = subscription.missed
                yield _sent(type(event).__name__, _plain_event(event))

    async def counts(self, _request: Request) -> Response:
        """Jobs by state, for each topic; a topic whose queue does not answer has an error in their place."""
        return Json({topic: await _counts(queue, topic) for topic, queue in self.queues.items()})

    async def browse(self, request: Request) -> Response:
        """Jobs of one topic in one state, by id."""
        given = request.query_params
        topic, queue = self._queue(given.get("topic"))
        state, limit = _state(given.get("state", "dead")), _limit(given.get("limit", "100"))
        try:
            jobs = await queue.browse(topic, state, limit, given.get("after", ""))
        except BackendError as error:
            raise problems.of_backend(error) from error
        return Json({"jobs": [_plain_job(job) for job in jobs]})

    async def show_job(self, request: Request) -> Response:
        """One job or parked record, with its headers."""
        try:
            job = await self.repairs.whole(await self._job(request))
        except BackendError as error:
            raise problems.of_backend(error) from error
        headers = [[name, value.decode("utf-8", "backslashreplace")] for name, value in job.headers]
        return Json({**_plain_job(job), "headers": headers})

    async def show_ends(self, request: Request) -> Response:
        """The newest dead and parked ones as the log has them, whatever became of them."""
        given = request.query_params
        topic, _ = self._queue(given.get("topic"))
        try:
            ends = await self.ends(topic, _limit(given.get("limit", "100")))
        except BackendError as error:
            raise problems.of_backend(error) from error
        plain = [attrs.asdict(end, filter=attrs.filters.exclude("value")) | _plain_bytes(end.value) for end in ends]
        return Json({"ends": plain})

    async def resubmit(self, request: Request) -> Response:
        """Dead and parked jobs once more."""
        topic, _, ids = await self._selected(request)
        try:
            count, refused = await self.repairs.resubmit(topic, ids)
        except BackendError as error:
            raise problems.of_backend(error) from error
        return Json({"count": count, "refused": refused})

    async def repair(self, request: Request) -> Response:
        """One parked record into the log again, with another type or with the body as its arguments."""
        require_json(request)
        async with self.bodies.read(request) as body:
            job = await self._job(request)
            if job.state is not JobState.PARKED:
                detail = f"{job.id} is {job.state.value}; only what is parked can be repaired"
                raise Problem(problems.INVALID_SELECTION, detail)
            try:
                place = await self.repairs.repair(job, request.query_params.get("type"), body or None)
            except Undecodable as error:
                raise Problem(problems.INVALID_JOB, error.reason) from error
            except BackendError as error:
                raise problems.of_backend(error) from error
        return Json(attrs.asdict(place))

    async def discard(self, request: Request) -> Response:
        """Dead or parked jobs away for good."""
        topic, queue, ids = await self._selected(request)
        try:
            count = await queue.discard(topic, ids)
        except BackendError as error:
            raise problems.of_backend(error) from error
        return Json({"count": count})

    async def _selected(self, request: Request) -> tuple[str, Queue, list[str]]:
        require_json(request)
        async with self.bodies.read(request) as body:
            name, ids = _selection(body)
        return *self._queue(name), ids

    async def _job(self, request: Request) -> JobView:
        topic, queue = self._queue(request.query_params.get("topic"))
        id_ = request.query_params.get("id", "")
        try:
            found = await queue.find(topic, [id_])
        except BackendError as error:
            raise problems.of_backend(error) from error
        if not found:
            detail = f"topic {topic!r} has no unfinished, dead or parked job with the id {id_!r}"
            raise Problem(problems.UNKNOWN_JOB, detail)
        return found[0]

    def _queue(self, topic: str | None) -> tuple[str, Queue]:
        if topic is None or topic not in self.queues:
            detail = f"there is no topic {topic!r}" if topic is not None else "topic is missing"
            raise Problem(problems.UNKNOWN_TOPIC, f"{detail}; the topics are {', '.join(self.queues)}")
        return topic, self.queues[topic]


def _well(node: Node) -> bool:
    ended_in_order = node.state is State.STOPPED and (node.last_exit or "").startswith("normal")
    return node.state is State.RUNNING or ended_in_order


async def _counts(queue: Queue, topic: str) -> dict[str, Any]:
    try:
        return attrs.asdict(await queue.counts(topic))
    except BackendError as error:
        return {"error": str(error)}


def _state(name: str) -> JobState:
    state = next((state for state in JobState if state.value == name), None)
    if state is None:
        states = ", ".join(state.value for state in JobState)
        raise Problem(problems.BAD_PARAMETER, f"state is {name!r}; it must be one of {states}")
    return state


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_JOBS):
        raise Problem(problems.BAD_PARAMETER, f"limit is {text!r}; it must be a number from 1 to {MAX_JOBS}")
    return int(text)


def _selection(body: bytes) -> tuple[str, list[str]]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(problems.MALFORMED_JSON, f"malformed JSON: {error}") from None
    form = f'send {{"topic": "...", "ids": ["...", ...]}} with at most {MAX_JOBS} ids'
    if not isinstance(given, dict) or set(given) != {"topic", "ids"} or not isinstance(given["topic"], str):
        raise Problem(problems.INVALID_SELECTION, form)
    ids = given["ids"]
    if not isinstance(ids, list) or len(ids) > MAX_JOBS or not all(isinstance(id_, str) for id_ in ids):
        raise Problem(problems.INVALID_SELECTION, form)
    return given["topic"], ids


def _plain_job(job: JobView) -> dict[str, Any]:
    """The job for JSON: `args` as text, or `args_base64` where the bytes are not UTF-8."""
    plain = attrs.asdict(job, filter=attrs.filters.exclude("args", "headers"))
    if job.state is JobState.PARKED:
        plain["type"] = dict(job.headers).get(TYPE, b"").decode("utf-8", "backslashreplace")
    plain["state"] = job.state.value
    return plain | _plain_bytes(job.args)


def _plain_bytes(args: bytes) -> dict[str, str]:
    try:
        return {"args": args.decode("utf-8")}
    except UnicodeDecodeError:
        return {"args_base64": base64.b64encode(args).decode("ascii")}


def _plain_event(event: Event) -> dict[str, Any]:
    plain = {"at": event.at, "path": event.path, "incarnation": event.incarnation, "detail": event.detail()}
    return plain | ({"name": event.name, "fields": dict(event.fields)} if isinstance(event, Noted) else {})


def _sent(name: str, data: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
