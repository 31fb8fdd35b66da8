"""What a setting may be: each option's kind knows how to read a value, and how to show it.

A kind is declared once, on the attrs field (`setting(kind, default=...)`). The constructor uses it,
so values made in code are checked like those from YAML; the reader uses it to report every problem
of a file at once. `read` raises `ValueError` whose text says what would be right ("write ...").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

import attrs

from .units import (
    parse_duration,
    parse_rate,
    parse_size,
    show_duration,
    show_rate,
    show_size,
)

T = TypeVar("T")

LONGEST = 366 * 86_400.0
"""The longest duration that a setting takes, in seconds."""


AMOUNT: Final = r"^[0-9]{1,15}(\.[0-9]{1,9})? ?"
"""The beginning of an amount as text, for a JSON Schema; its unit follows."""


def _any_text() -> Mapping[str, Any]:
    return {"type": "string"}


@attrs.frozen
class Scalar(Generic[T]):
    """A single value. `schema` is what a JSON Schema says of it: it never refuses what `read` takes."""

    read: Callable[[object], T]
    show: Callable[[T], object]
    schema: Mapping[str, Any] = attrs.field(factory=_any_text, eq=False)


@attrs.frozen
class Section:
    """A mapping of known keys, read into the attrs class `cls`; `off` gives None where allowed."""

    cls: type[Any]
    may_be_off: bool = False


@attrs.frozen
class ListOf:
    """A list of `item`, read into a tuple; with at least `least` entries."""

    item: Kind
    least: int = 0


@attrs.frozen
class MapOf:
    """A mapping from free names (checked by `name`) to `item`; at least one entry."""

    name: Scalar[str]
    item: Kind


Kind = Scalar[Any] | Section | ListOf | MapOf


def setting(kind: Kind, default: object) -> Any:
    """An attrs field that YAML can set. Scalars are checked (and converted) by the constructor."""
    options: dict[str, Any] = {"metadata": {"kind": kind}, "default": default}
    if isinstance(kind, Scalar):
        options["converter"] = attrs.Converter(_converter(kind), takes_field=True)
    return attrs.field(**options)


def options(cls: type[Any]) -> dict[str, attrs.Attribute[Any]]:
    """The fields of an attrs class that YAML can set, by name; `kind_of` gives their kinds."""
    return {f.name: f for f in attrs.fields(cls) if "kind" in f.metadata}


def kind_of(option: attrs.Attribute[Any]) -> Kind:
    """The kind that the field was declared with."""
    kind: Kind = option.metadata["kind"]
    return kind


def _converter(kind: Scalar[T]) -> Callable[[object, attrs.Attribute[T]], T]:
    def convert(value: object, attribute: attrs.Attribute[T]) -> T:
        try:
            return kind.read(value)
        except ValueError as error:
            raise ValueError(f"{attribute.name} is {value!r}: {error}") from None

    return convert


def integer(least: int, most: int) -> Scalar[int]:
    """A whole number in a range; a text that spells one is taken too (`"${PORT}"`)."""

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"write a whole number from {least} to {most}")
        return value

    return Scalar(read, int, {"type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": "^[0-9]{1,18}$"})


def duration(least: float, most: float = LONGEST) -> Scalar[float]:
    """Seconds in a range."""

    def read(value: object) -> float:
        seconds = parse_duration(value)
        if not least <= seconds <= most:
            raise ValueError(f"write a duration from {show_duration(least)} to {show_duration(most)}")
        return seconds

    pattern = AMOUNT + "(ms|s|m|h|d)?$"
    return Scalar(read, show_duration, {"type": ["number", "string"], "minimum": least, "maximum": most, "pattern": pattern})


def size(least: int, most: int) -> Scalar[int]:
    """Bytes in a range."""

    def read(value: object) -> int:
        count = parse_size(value)
        if not least <= count <= most:
            raise ValueError(f"write a size from {show_size(least)} to {show_size(most)}")
        return count

    pattern = AMOUNT + "([kMG]?B|[KMG]iB)?$"
    return Scalar(read, show_size, {"type": ["number", "string"], "minimum": least, "maximum": most, "pattern": pattern})


def rate(least: float, most: float) -> Scalar[float]:
    """Events per second in a range, from text such as `5000/s` (in code: a float)."""

    def read(value: object) -> float:
        per_second = value if isinstance(value, float) else parse_rate(value)
        if not least <= per_second <= most:
            raise ValueError(f"write a rate from {show_rate(least)} to {show_rate(most)}")
        return per_second

    return Scalar(read, show_rate, {"type": "string", "pattern": AMOUNT + "/ ?(s|m|h)$"})


def text(pattern: str, want: str) -> Scalar[str]:
    """A text that matches `pattern` as a whole; `want` says what would be right."""
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if isinstance(value, str) and compiled.fullmatch(value):
            return value
        quotes = "" if isinstance(value, str) else " (a text: put it in quotes)"
        raise ValueError(want + quotes)

    return Scalar(read, str)


def choice(options: Iterable[str]) -> Scalar[str]:
    """One of a few words."""
    words = tuple(options)

    def read(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise ValueError(f"write {' or '.join(words)}")

    return Scalar(read, str, {"enum": list(words)})
