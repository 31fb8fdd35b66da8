"""Submitting a record again that was parked: as it is, or with another type or other arguments (row R6)."""

from __future__ import annotations

from attrs import frozen
from msgspec.structs import replace

from .context import Headers
from .envelope import ATTEMPT, ERROR, OWN_HEADERS, TYPE, Undecodable, decode, headers_of
from .posts import InvalidJob, parse_record


@frozen
class Parked:
    """A record as it was parked: where it lay in the log, its bytes and headers; `timestamp` is Unix ms."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes
    headers: Headers = ()


def again(parked: Parked, type_: str | None = None, args: bytes | None = None) -> tuple[bytes, Headers]:
    """Return the value and the headers of the record that carries the job anew, with its attempts counted from 0.

    Id and bytes stay those of the parked record, but for what is given. A record of which something is given may have
    unreadable headers of ours, which are left out. Raises `Undecodable` for what would only be parked once more.
    """
    value, headers = parked.value, parked.headers
    if type_ is not None or args is not None:
        value, headers = _changed(parked, type_, args)
    job = decode(parked.topic, parked.partition, parked.offset, parked.timestamp, value, headers)
    return job.args, headers_of(replace(job, attempt=0, error=None))


def _changed(parked: Parked, type_: str | None, args: bytes | None) -> tuple[bytes, Headers]:
    own = {name: value for name, value in reversed(parked.headers) if name in OWN_HEADERS}
    value = parked.value if args is None else _checked(args)
    if TYPE not in own:
        if type_ is None or args is None:
            return _changed_document(parked, type_, args)
        own = {}
    if type_ is not None:
        own[TYPE] = type_.encode("utf-8", "backslashreplace")
    other = (header for header in parked.headers if header[0] not in OWN_HEADERS)
    kept = ((name, text) for name, text in own.items() if name == TYPE or _readable(name, text))
    return value, (*kept, *other)


def _changed_document(parked: Parked, type_: str | None, args: bytes | None) -> tuple[bytes, Headers]:
    """A raw record is a whole document: what is not given must be found in it."""
    try:
        job = decode(parked.topic, parked.partition, parked.offset, parked.timestamp, parked.value, parked.headers)
    except Undecodable as error:
        missing = "type" if type_ is None else "args"
        raise Undecodable(f"the record does not tell its {missing}, so give both type and args; {error}") from None
    changed = replace(job, type=type_ or job.type, args=job.args if args is None else _checked(args))
    return changed.args, headers_of(changed)


def _checked(args: bytes) -> bytes:
    """The JSON value in `args`, its bytes unchanged but for space around it."""
    try:
        found = parse_record(b'{"type": "t", "args": ' + args + b"}").args
    except InvalidJob as error:
        raise Undecodable(f"args must be one JSON value: {error}") from None
    if found != args.strip(b" \t\r\n"):
        raise Undecodable("args must be one JSON value, and nothing behind it")
    return found


def _readable(name: str, text: bytes) -> bool:
    try:
        decode("t", 0, 0, 0, b"{}", ((TYPE, b"t"), (name, text)))
    except Undecodable:
        return False
    return name not in (ATTEMPT, ERROR)
