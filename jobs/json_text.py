"""JSON read with its text kept: where each value stands, how each number is written.

The standard library's C scanner does the work. It is run value by value, so that the exact text of
`args` can be cut out of a document; `msgspec.Raw` was tried for that and neither checks the UTF-8
inside a raw value nor takes a lone surrogate escape, which JSON's grammar allows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

MAX_DEPTH = 100
"""How deep arrays and objects of a job's arguments may be nested."""

_SPACE = re.compile(r"[ \t\n\r]*")
# Strings are passed over whole, also one without an end: looking for its end anew at each quote would be quadratic.
_BRACKETS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|[\]}]', re.DOTALL)


class JsonError(ValueError):
    """A text that is not acceptable as JSON; the message says what and where."""


class NotJson(JsonError):
    """The text is not JSON (RFC 8259) in UTF-8."""


class TooDeep(JsonError):
    """Arrays and objects are nested deeper than allowed."""


class DuplicateKeys(JsonError):
    """An object has one key twice; `path` leads to it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the key {path} is there twice")
        self.path = path


class Number(str):
    """A number by its text, exactly as written: `1`, `1.0` and `1e0` are three."""

    __slots__ = ()


def decode_utf8(data: bytes) -> str:
    """The text of `data`. Raises `NotJson` where it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson(f"byte {error.start} is not UTF-8") from None


def check_depth(text: str, limit: int) -> None:
    """Raise `TooDeep` if arrays and objects in `text` are nested deeper than `limit`."""
    if text.count("[") + text.count("{") <= limit:
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        if match[1]:
            depth += 1
            if depth > limit:
                raise TooDeep(f"nested deeper than {limit} at character {match.start()}")
        elif match[0] in "]}":
            depth -= 1


def parse(text: str) -> Any:
    """The one value of `text`: numbers as `Number`, arrays as lists, objects as tuples of pairs.

    Raises `NotJson`, and `TooDeep` beyond `MAX_DEPTH`.
    """
    check_depth(text, MAX_DEPTH)
    value, end = scan_value(text, skip_space(text, 0))
    check_end(text, end)
    return value


def skip_space(text: str, position: int) -> int:
    """The position of the next character that is not JSON's white space."""
    match = _SPACE.match(text, position)
    return match.end() if match else position


def scan_value(text: str, position: int) -> tuple[Any, int]:
    """The value that begins at `position`, as `parse` gives it, and where it ends."""
    return _scan(_decoder, text, position)


def skip_value(text: str, position: int) -> int:
    """Where the value that begins at `position` ends; checked as by `scan_value`, not kept."""
    return _scan(_checker, text, position)[1]


def scan_object(text: str, position: int, member: Callable[[str, int], int]) -> int:
    """Walk the object whose `{` is at `position`; return where it ends.

    `member` is given each key and where its value begins, and returns where the value ends.
    """
    position = skip_space(text, position + 1)
    if text[position : position + 1] == "}":
        return position + 1
    while True:
        if text[position : position + 1] != '"':
            _expected("a key in quotes", position)
        key, position = scan_value(text, position)
        position = skip_space(text, position)
        if text[position : position + 1] != ":":
            _expected("':'", position)
        position = skip_space(text, member(key, skip_space(text, position + 1)))
        if text[position : position + 1] != ",":
            break
        position = skip_space(text, position + 1)
    return _closed(text, position, "}")


def scan_array(text: str, position: int, element: Callable[[int], int]) -> int:
    """Walk the array whose `[` is at `position`; return where it ends.

    `element` is given where each element begins, and returns where it ends.
    """
    position = skip_space(text, position + 1)
    if text[position : position + 1] == "]":
        return position + 1
    while True:
        position = skip_space(text, element(position))
        if text[position : position + 1] != ",":
            break
        position = skip_space(text, position + 1)
    return _closed(text, position, "]")


def check_end(text: str, position: int) -> None:
    """Raise `NotJson` if anything but white space follows `position`."""
    position = skip_space(text, position)
    if position != len(text):
        _expected("the end", position)


def _scan(decoder: json.JSONDecoder, text: str, position: int) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise TooDeep(f"nested too deep for the stack at character {position}") from None


def _closed(text: str, position: int, bracket: str) -> int:
    if text[position : position + 1] != bracket:
        _expected(f"',' or '{bracket}'", position)
    return position + 1


def _expected(what: str, position: int) -> NoReturn:
    raise NotJson(f"expected {what} at character {position}")


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")


_decoder = json.JSONDecoder(
    parse_int=Number,
    parse_float=Number,
    parse_constant=_refuse_constant,
    object_pairs_hook=tuple,
)
_checker = json.JSONDecoder(
    # `len` stands for a conversion that makes no object: the number has been checked by then
    parse_int=len,
    parse_float=len,
    parse_constant=_refuse_constant,
)
