"""What happened in a run, in order, with a digest that tells two runs apart.

An entry is (time, actor path, incarnation, event, detail). The digest is SHA-256 over a canonical
encoding of every entry (type tag, length, bytes), taken as the entries come. Only plain values get
in: the text of an arbitrary object may hold a memory address, and would make equal runs look
different.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

T = TypeVar("T")

TRACE_FORMAT = "forebay-trace/1"

Value = str | int | float | bytes | tuple["Value", ...] | None

_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")


class TraceError(ValueError):
    """A trace file that cannot be read, or a text that no trace may hold."""


@frozen
class Entry:
    """One thing that happened.

    `at` is in seconds of virtual time, `path` the actor's, `detail` a message id or the like.
    """

    at: float
    path: str
    incarnation: int
    event: str
    detail: Value = None

    def __str__(self) -> str:
        tail = "" if self.detail is None else f" {self.detail!r}"
        return f"{self.at:.6f} {self.path}#{self.incarnation} {self.event}{tail}"


class Trace:
    """The entries of one run."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` gives the time of an entry in seconds: a loop's `time`."""
        self._now = now
        self._hash = hashlib.sha256()
        self._entries: list[Entry] = []

    def add(self, path: str, incarnation: int, event: str, detail: Value = None) -> None:
        """Append an entry, now.

        Raises `TypeError` for a value that is not str, int, float, bytes, None or a tuple of
        these, and `TraceError` for a text with a memory address or a float that is not finite.
        Nothing is appended then.
        """
        self._append(Entry(float(self._now()), path, incarnation, event, detail))

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over all entries so far."""
        return self._hash.hexdigest()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def dump(self, path: Path, header: Mapping[str, Any] | None = None) -> None:
        """Write JSON lines: a header, then one line per entry.

        The header holds the format, the digest, the number of entries, and what is given.
        Bytes are written as `{"hex": ...}`, tuples as lists.
        """
        head = {
            **(header or {}),
            "format": TRACE_FORMAT,
            "digest": self.digest,
            "entries": len(self),
        }
        with path.open("w", encoding="utf-8") as file:
            file.write(json.dumps(head, sort_keys=True) + "\n")
            file.writelines(json.dumps(_row(entry)) + "\n" for entry in self)

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Read what `dump` wrote.

        Raises `TraceError`, with the line, for anything else, and for a changed file.
        """
        with path.open(encoding="utf-8") as file:
            head = _parsed(path, 1, file.readline(), _header)
            entries = [_parsed(path, number, line, _entry) for number, line in enumerate(file, 2)]
        trace = cls(lambda: math.nan)
        for entry in entries:
            trace._append(entry)
        if trace.digest != head.get("digest"):
            raise TraceError(
                f"{path}: the entries do not match the digest in the header; the file was changed "
                "or cut: record the run again"
            )
        return trace

    def _append(self, entry: Entry) -> None:
        self._hash.update(_key(entry))
        self._entries.append(entry)


@frozen
class Difference:
    """Where two traces part.

    `index` is that of the first entry that differs; `left` and `right` are the entries there
    (None past an end), `before` those that led to it.
    """

    index: int
    before: tuple[Entry, ...]
    left: Entry | None
    right: Entry | None

    def __str__(self) -> str:
        lines = [f"the traces differ from entry {self.index} on"]
        lines += [f"    {entry}" for entry in self.before]
        lines += [f"  - {self.left or '(the end)'}", f"  + {self.right or '(the end)'}"]
        return "\n".join(lines)


def first_difference(left: Iterable[Entry], right: Iterable[Entry], context: int = 5) -> Difference | None:
    """The first difference, with up to `context` common entries before it; None if equal."""
    before: deque[Entry] = deque(maxlen=context)
    for index, (one, other) in enumerate(zip_longest(left, right)):
        if one is None or other is None or _key(one) != _key(other):
            return Difference(index, tuple(before), one, other)
        before.append(one)
    return None


def encoded(value: Value) -> bytes:
    """The canonical bytes of a value: equal for equal values of one type, and for no others.

    Raises as `Trace.add`.
    """
    match value:
        case None:
            return b"n"
        case str():
            return _tagged(b"s", _clean(value).encode("utf-8", "surrogatepass"))
        case bytes():
            return _tagged(b"b", value)
        case int():
            return _tagged(b"i", str(int(value)).encode())
        case float():
            return _tagged(b"f", _finite(value).hex().encode())
        case tuple():
            return b"t%d:" % len(value) + b"".join(map(encoded, value))
    raise TypeError(
        "a trace holds str, int, float, bytes, None and tuples of these, "
        f"not {type(value).__name__}; name the thing by its id"
    )


def _tagged(tag: bytes, body: bytes) -> bytes:
    return b"%s%d:%s" % (tag, len(body), body)


def _clean(text: str) -> str:
    if _ADDRESS.search(text):
        raise TraceError(f"{text!r} holds a memory address, which differs from run to run; name the thing by its id")
    return text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise TraceError(f"{number} is not a finite number")
    return number


def _key(entry: Entry) -> bytes:
    return encoded((entry.at, entry.path, entry.incarnation, entry.event, entry.detail))


def _row(entry: Entry) -> list[Any]:
    return [entry.at, entry.path, entry.incarnation, entry.event, _to_json(entry.detail)]


def _to_json(value: Value) -> Any:
    match value:
        case bytes():
            return {"hex": value.hex()}
        case tuple():
            return [_to_json(one) for one in value]
    return value


def _from_json(value: Any) -> Value:
    match value:
        case {"hex": str(text)}:
            return bytes.fromhex(text)
        case list():
            return tuple(_from_json(one) for one in value)
        case str() | int() | float() | None:
            return value
    raise ValueError(f"{value!r} is no value of a trace")


def _parsed(path: Path, number: int, line: str, parse: Callable[[Any], T]) -> T:
    try:
        return parse(json.loads(line))
    except ValueError as error:
        raise TraceError(f"{path}:{number}: {error}; record the run again") from error


def _header(row: Any) -> dict[str, Any]:
    if isinstance(row, dict) and row.get("format") == TRACE_FORMAT:
        return row
    raise ValueError(f"not a trace of format {TRACE_FORMAT}")


def _entry(row: Any) -> Entry:
    match row:
        case [float(at), str(path), int(incarnation), str(event), detail]:
            return Entry(at, path, incarnation, event, _from_json(detail))
    raise ValueError("not an entry [time, path, incarnation, event, detail]")
