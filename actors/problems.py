"""Problem answers (RFC 9457), shared by everything here that speaks HTTP: what happened and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from forebay.backends.errors import (
    AcksNotOffered,
    BackendError,
    Full,
    RecordTooLarge,
    Unavailable,
    UnknownOutcome,
    UnknownPartition,
    UnknownTopic,
)

RETRY_AFTER: Final = "1"
"""Seconds, the shortest that the header can say: what refuses now usually has room again within that."""


class Json(JSONResponse):
    """An answer in JSON, in ASCII: a text of someone else's, an error's for instance, may hold what UTF-8 cannot write."""

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


@frozen
class Kind:
    """A kind of problem. `uri` is stable; programs decide by it and by nothing else."""

    name: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        """The problem's `type`."""
        return f"urn:forebay:problem:{self.name}"


BAD_PARAMETER = Kind("bad-parameter", 400, "A query parameter or header is not acceptable")
MALFORMED_JSON = Kind("malformed-json", 400, "The body is not JSON")
MALFORMED_REQUEST = Kind("malformed-request", 400, "This is not an HTTP request")
FOREIGN_HOST = Kind("foreign-host", 403, "The Host header names another server")
FOREIGN_SITE = Kind("foreign-site", 403, "A page of another site had this sent")
NO_SUCH_ROUTE = Kind("no-such-route", 404, "There is nothing at this path")
UNKNOWN_TOPIC = Kind("unknown-topic", 404, "There is no such topic")
UNKNOWN_PARTITION = Kind("unknown-partition", 404, "The topic has no such partition")
UNKNOWN_JOB = Kind("unknown-job", 404, "There is no such job")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "The path does not take this method")
ACKS_NOT_OFFERED = Kind("acks-not-offered", 409, "The topic cannot keep these acks")
SLOW_CLIENT = Kind("slow-client", 408, "The request took too long to arrive")
BODY_TOO_LARGE = Kind("body-too-large", 413, "The body is too large")
BATCH_TOO_LONG = Kind("batch-too-long", 413, "The batch has too many jobs")
RECORD_TOO_LARGE = Kind("record-too-large", 413, "The job is larger than its topic takes")
WRONG_CONTENT_TYPE = Kind("wrong-content-type", 415, "The body's type or encoding is not taken here")
INVALID_JOB = Kind("invalid-job", 422, "The body is JSON but not a job")
UNKNOWN_TYPE = Kind("unknown-type", 422, "Nothing handles this type of job")
INVALID_SELECTION = Kind("invalid-selection", 422, "The body does not say which jobs are meant")
INVALID_LIMIT = Kind("invalid-limit", 422, "This is no limit")
BATCH_REFUSED = Kind("batch-refused", 422, "No job of the batch was accepted")
HEADERS_TOO_LARGE = Kind("headers-too-large", 431, "The headers are too large")
INTERNAL = Kind("internal", 500, "A fault of the server")
OVERLOADED = Kind("overloaded", 503, "There is no room for the request now")
UNAVAILABLE = Kind("unavailable", 503, "The store behind this server does not answer now")
UNKNOWN_OUTCOME = Kind("unknown-outcome", 504, "Whether it was accepted is not known")

KINDS: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, Kind))


class Problem(Exception):
    """An answer that says no. `detail` tells what was found and what to do; `extra` are further members of the body."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail
        self.headers, self.extra = dict(headers or {}), dict(extra or {})
        if kind.status == 503:
            self.headers.setdefault("retry-after", RETRY_AFTER)

    def body(self) -> dict[str, Any]:
        """The problem as RFC 9457 writes it."""
        kind = self.kind
        return {"type": kind.uri, "title": kind.title, "status": kind.status, "detail": self.detail, **self.extra}

    def response(self) -> Response:
        """The whole answer."""
        return Json(self.body(), self.kind.status, self.headers, media_type="application/problem+json")


def of_backend(error: BackendError, topics: Sequence[str] = ()) -> Problem:
    """What to tell the client about a store's error. `topics` are those that it could have named."""
    kind, advice = next(((kind, advice) for cls, kind, advice in _OF_BACKEND if isinstance(error, cls)), _OTHERWISE)
    if isinstance(error, UnknownTopic) and topics:
        advice = f"the topics are {', '.join(topics)}"
    return Problem(kind, f"{error}; {advice}")


_OF_BACKEND: Final = (
    (UnknownOutcome, UNKNOWN_OUTCOME, "send it again with the same id, which is one job while it is unfinished"),
    (Full, OVERLOADED, "nothing was accepted, send it again later"),
    (Unavailable, UNAVAILABLE, "nothing was accepted, send it again later"),
    (UnknownTopic, UNKNOWN_TOPIC, "name one of the configured topics"),
    (UnknownPartition, UNKNOWN_PARTITION, "name one of these"),
    (AcksNotOffered, ACKS_NOT_OFFERED, "send it with acks=leader, or have the topic altered and the gate started anew"),
    (RecordTooLarge, RECORD_TOO_LARGE, "keep large data elsewhere and pass a reference"),
)
_OTHERWISE: Final = (INTERNAL, "nothing was accepted; a person must look at the store")


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    response = error.response()
    if "expect" in request.headers:
        # The client may hold its body back for ever now, or send it after all: only a new connection is sure to be in step.
        response.headers["connection"] = "close"
    return response


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.scope["path"]  # not request.url, which a malformed Host header breaks
    if error.status_code == METHOD_NOT_ALLOWED.status:
        allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        problem = Problem(METHOD_NOT_ALLOWED, f"{path} takes {allowed}, not {request.method}", headers={"allow": allowed})
    else:
        problem = Problem(NO_SUCH_ROUTE, f"nothing is at {path}; the HTTP API is described in docs/http.md")
    return await _on_problem(request, problem)


async def _on_gone(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ClientDisconnect)
    return Response(status_code=400)  # to nobody: the connection is closed


async def _on_fault(request: Request, error: Exception) -> Response:
    detail = f"{type(error).__name__} while the request was handled; whether it took effect is not known"
    return await _on_problem(request, Problem(INTERNAL, detail))


HANDLERS: Final = {Problem: _on_problem, HTTPException: _on_http, ClientDisconnect: _on_gone, Exception: _on_fault}
"""For `Starlette(exception_handlers=...)`: every answer that is not a success is a problem body."""
