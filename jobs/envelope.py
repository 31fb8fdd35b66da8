"""How a job sits in a log record.

The record's value is `args`, the bytes exactly as posted (row R10); all else is in its headers:

| header               | value (UTF-8)                                                  |
|----------------------|----------------------------------------------------------------|
| `forebay-type`       | the type; its presence says that the value is `args` alone     |
| `forebay-id`         | the instance id, kept across re-enqueue and replay             |
| `forebay-enqueued-at`| Unix ms at which the job was accepted                          |
| `forebay-dedup`      | the dedup id, if there is one                                  |
| `forebay-key`        | the ordering or concurrency key, if there is one               |
| `forebay-not-before` | Unix ms before which it must not run, if there is such a time  |
| `forebay-shadow`     | `1`: the relay reads it, counts it and drops it (row R9)       |
| `forebay-attempt`    | how often an error put it back into the log; absent: never     |
| `forebay-error`      | the last such error                                            |

Other headers (a trace context, for instance) are kept and handed to the worker.

A record without `forebay-type` was produced raw (row G1): its value is a whole job document, as
`posts.parse_record` reads it, and the bytes of its `args` are cut out unchanged. What it does not
say comes from the record itself, not from other headers of ours, so that reading it again gives
the same job: its id is `<topic>/<partition>/<offset>`, its time of acceptance the record's own.
"""

from __future__ import annotations

import math
import re

from msgspec.structs import replace

from .context import Headers
from .posts import MAX_TIME, InvalidJob, JobPost, parse_record
from .values import Value
from .words import MAX_WORD, check_word

TYPE = "forebay-type"
ID = "forebay-id"
ENQUEUED_AT = "forebay-enqueued-at"
DEDUP = "forebay-dedup"
KEY = "forebay-key"
NOT_BEFORE = "forebay-not-before"
SHADOW = "forebay-shadow"
ATTEMPT = "forebay-attempt"
ERROR = "forebay-error"

OWN_HEADERS = frozenset({TYPE, ID, ENQUEUED_AT, DEDUP, KEY, NOT_BEFORE, SHADOW, ATTEMPT, ERROR})
MAX_ERROR = 1000
"""The longest error that is kept in a header, in characters."""

MAX_DERIVED_ID = 300
"""The longest instance id, in characters: a topic's name (249), a partition and an offset."""

_DIGITS = re.compile(rb"[0-9]{1,15}")
_PLAIN_WORD = re.compile(rb"[ -~]{1,%d}" % MAX_WORD)


def storable(error: str) -> str:
    """Return an error's text so that it can be stored: at most `MAX_ERROR` characters, each with a UTF-8 form."""
    return error.encode("utf-8", "backslashreplace").decode("utf-8")[:MAX_ERROR]


class Undecodable(ValueError):
    """A record that can never be a job; `reason` says why and what would be right.

    It is stored with the record, so it is `storable`.
    """

    def __init__(self, reason: str) -> None:
        self.reason = storable(reason)
        super().__init__(self.reason)


class DecodedJob(Value, frozen=True):
    """A job as read from the log. Times are Unix ms; `not_before` is 0 if it may run at once."""

    topic: str
    partition: int
    offset: int
    id: str
    type: str
    args: bytes
    enqueued_at: int
    not_before: int = 0
    dedup: str | None = None
    key: str | None = None
    shadow: bool = False
    attempt: int = 0
    error: str | None = None
    headers: Headers = ()


def encode(post: JobPost, *, id_: str, enqueued_at: int, headers: Headers = ()) -> tuple[bytes, Headers]:
    """The record's value and headers for a post that was accepted at `enqueued_at` (Unix ms).

    `id_` is the instance id, which the caller makes if the post has none. Raises `ValueError` if
    `headers` use one of forebay's own names.
    """
    if taken := OWN_HEADERS.intersection(name for name, _ in headers):
        raise ValueError(f"the headers {', '.join(sorted(taken))} are forebay's own")
    job = DecodedJob(
        topic="",
        partition=0,
        offset=0,
        id=id_,
        type=post.type,
        args=post.args,
        enqueued_at=enqueued_at,
        not_before=_due(post, enqueued_at),
        dedup=post.dedup,
        key=post.key,
        shadow=post.shadow,
        headers=headers,
    )
    return job.args, headers_of(job)


def encode_again(job: DecodedJob, error: str, not_before: int) -> tuple[bytes, Headers]:
    """The record that puts a job back into the log after `error`, to run at `not_before` (Unix ms).

    Id, arguments and headers stay; the attempt count grows by one (row R6).
    """
    again = replace(job, attempt=job.attempt + 1, error=error[:MAX_ERROR], not_before=not_before)
    return again.args, headers_of(again)


def decode(  # a record's parts in a record's order
    topic: str, partition: int, offset: int, timestamp: int, value: bytes, headers: Headers
) -> DecodedJob:
    """The job in a record; `timestamp` is when the log took the record (Unix ms).

    Raises `Undecodable` for what can never be a job. `args` of a record with forebay's headers are
    taken as they are: the gate checked them.
    """
    own, other = _sorted_headers(headers)
    if TYPE not in own:
        return _decode_raw(topic, partition, offset, timestamp, value, other)
    return DecodedJob(
        topic=topic,
        partition=partition,
        offset=offset,
        id=_word(own, ID) or f"{topic}/{partition}/{offset}",
        type=_word(own, TYPE) or "",
        args=value,
        enqueued_at=_number(own, ENQUEUED_AT, timestamp),
        not_before=_number(own, NOT_BEFORE, 0),
        dedup=_word(own, DEDUP),
        key=_word(own, KEY),
        shadow=_flag(own, SHADOW),
        attempt=_number(own, ATTEMPT, 0),
        error=_text(own, ERROR),
        headers=other,
    )


def _decode_raw(topic: str, partition: int, offset: int, timestamp: int, value: bytes, headers: Headers) -> DecodedJob:
    try:
        post = parse_record(value)
    except InvalidJob as error:
        raise Undecodable(f"a record without the header {TYPE} is a job document: {error}") from None
    return DecodedJob(
        topic=topic,
        partition=partition,
        offset=offset,
        id=post.id or f"{topic}/{partition}/{offset}",
        type=post.type,
        args=post.args,
        enqueued_at=timestamp,
        not_before=_due(post, timestamp),
        dedup=post.dedup,
        key=post.key,
        shadow=post.shadow,
        headers=headers,
    )


def _due(post: JobPost, accepted_at: int) -> int:
    if post.not_before is not None:
        return post.not_before
    return accepted_at + math.ceil(post.delay * 1000) if post.delay else 0


def headers_of(job: DecodedJob) -> Headers:
    """The headers of the record that carries this job; its value is `args`."""
    texts = {
        TYPE: job.type,
        ID: job.id,
        ENQUEUED_AT: str(job.enqueued_at),
        DEDUP: job.dedup,
        KEY: job.key,
        NOT_BEFORE: str(job.not_before) if job.not_before else None,
        SHADOW: "1" if job.shadow else None,
        ATTEMPT: str(job.attempt) if job.attempt else None,
        ERROR: job.error,
    }
    own = ((name, _utf8(text)) for name, text in texts.items() if text is not None)
    return (*own, *job.headers)


def _utf8(text: str) -> bytes:
    # an error's text may quote a lone surrogate, which has no UTF-8
    return text.encode("utf-8", "backslashreplace")


def _sorted_headers(headers: Headers) -> tuple[dict[str, bytes], Headers]:
    """Our headers by name, and the others as they are."""
    own: dict[str, bytes] = {}
    other: list[tuple[str, bytes]] = []
    for header in headers:
        name, value = header
        if name not in OWN_HEADERS:
            other.append(header)
        elif name in own:
            raise Undecodable(f"the header {name} is there twice; one of them must go")
        else:
            own[name] = value
    return own, tuple(other)


def _text(own: dict[str, bytes], name: str) -> str | None:
    if name not in own:
        return None
    try:
        return own[name].decode("utf-8")
    except UnicodeDecodeError:
        raise Undecodable(f"the header {name} is not UTF-8") from None


def _word(own: dict[str, bytes], name: str) -> str | None:
    value = own.get(name)
    if value is None:
        return None
    if _PLAIN_WORD.fullmatch(value):  # nearly all are, and this is done for every job
        return value.decode("ascii")
    text = _text(own, name)
    assert text is not None
    try:
        check_word(f"the header {name}", text, most=MAX_DERIVED_ID if name == ID else MAX_WORD)
    except ValueError as error:
        raise Undecodable(str(error)) from None
    return text


def _flag(own: dict[str, bytes], name: str) -> bool:
    if own.get(name, b"1") != b"1":
        raise Undecodable(f"the header {name} must be 1, or absent")
    return name in own


def _number(own: dict[str, bytes], name: str, absent: int) -> int:
    value = own.get(name)
    if value is None:
        return absent
    if not _DIGITS.fullmatch(value) or (number := int(value)) > MAX_TIME:
        raise Undecodable(f"the header {name} must be decimal digits, 0 to {MAX_TIME}")
    return number
