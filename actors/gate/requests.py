"""What the gate reads from a request's line and headers, each with its refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import evolve
from starlette.requests import Request

from forebay.actors.problems import (
    BAD_PARAMETER,
    FOREIGN_SITE,
    INVALID_JOB,
    MALFORMED_JSON,
    UNKNOWN_PARTITION,
    UNKNOWN_TYPE,
    Problem,
)
from forebay.backends.ports import Acks, Headers
from forebay.config import TopicConfig
from forebay.jobs import InvalidCode, InvalidJob, JobPost
from forebay.jobs.words import check_word

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TYPES_SHOWN: Final = 20


def require_own_site(request: Request) -> None:
    """Refuse what a page of another site lets its reader's browser send. Raises `Problem`.

    Browsers ask before they send JSON to another site, and nobody here answers; other bodies they send unasked.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is not None:  # an older browser, or one that came by plain HTTP from afar
        own = origin.partition("://")[2] == request.headers.get("host")
        site = "same-origin" if own else "cross-site"
    if site == "cross-site":
        raise Problem(FOREIGN_SITE, f"a browser sent this for a page of {origin or 'another site'}; send it from a program")


def parameters(request: Request, *allowed: str) -> dict[str, str]:
    """The query's parameters, each at most once and none that would be ignored. Raises `Problem`."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed:
            detail = f"there is no parameter {name!r} here; the parameters are {', '.join(allowed)}"
            raise Problem(BAD_PARAMETER, detail)
        if name in given:
            raise Problem(BAD_PARAMETER, f"the parameter {name} is there twice; give it once")
        given[name] = value
    return given


def acks(topic: TopicConfig, given: Mapping[str, str]) -> Acks:
    """The request's level of acks, or else its topic's. Raises `Problem`."""
    name = given.get("acks", topic.acks)
    found = next((level for level in Acks if level.value == name), None)
    if found is None:
        raise Problem(BAD_PARAMETER, f"acks is {name!r}; it must be leader or all")
    return found


def partition(text: str, topic: TopicConfig) -> int:
    """The partition that a path names. Raises `Problem`."""
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < topic.partitions:
        return int(text)
    detail = f"topic {topic.name!r} has the partitions 0 to {topic.partitions - 1}, not {text!r}"
    raise Problem(UNKNOWN_PARTITION, detail)


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key header, None if there is none. Raises `Problem`."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    try:
        check_word("Idempotency-Key", key)
    except ValueError as error:
        raise Problem(BAD_PARAMETER, str(error)) from None
    if not key.isascii():
        raise Problem(BAD_PARAMETER, "Idempotency-Key must be ASCII; an id with other characters goes into the body")
    return key


def with_key(post: JobPost, key: str | None) -> JobPost:
    """The post with the header's key as its id. Raises `Problem` if it has another."""
    if key is None:
        return post
    if post.id is not None and post.id != key:
        detail = f"the job's id is {post.id!r} and Idempotency-Key says {key!r}; send one of them, or the same in both"
        raise Problem(INVALID_JOB, detail, extra={"code": "two_ids", "field": "id"})
    return evolve(post, id=key)


def check_type(type_: str, known: frozenset[str] | None) -> None:
    """Raise `Problem` for a type of job that nothing handles. None: not known here, everything passes."""
    if known is None or type_ in known:
        return
    names = sorted(known)
    shown = ", ".join(names[:_TYPES_SHOWN]) + (", ..." if len(names) > _TYPES_SHOWN else "")
    detail = f"nothing handles {type_!r}; there are handlers for {shown or 'nothing: workers.handlers names no module'}"
    raise Problem(UNKNOWN_TYPE, detail, extra={"field": "type"})


def invalid(error: InvalidJob) -> Problem:
    """The answer to a text that is not a job."""
    if error.code is InvalidCode.MALFORMED:
        return Problem(MALFORMED_JSON, error.message)
    field = {} if error.field is None else {"field": error.field}
    return Problem(INVALID_JOB, error.message, extra={"code": error.code.value, **field})


def trace(request: Request) -> Headers:
    """The caller's trace context (W3C Trace Context), which goes with the job (row G10); malformed, it is left out."""
    parent = request.headers.get("traceparent", "")
    if not _TRACEPARENT.fullmatch(parent):
        return ()
    state = request.headers.get("tracestate")
    names = {"traceparent": parent} if state is None else {"traceparent": parent, "tracestate": state}
    return tuple((name, value.encode("latin-1")) for name, value in names.items())
