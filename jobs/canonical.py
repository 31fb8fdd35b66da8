r"""The canonical hash of a job's type and arguments: its dedup id when it asks for one (row G2).

The same job gives the same hash in every language, whatever the order of its keys, its white space
and its escapes. The hash is the first 16 bytes of a SHA-256, as 32 lower-case hex digits, over the
canonical text of the two-element array `[type, args]`, in UTF-8:

- no white space outside strings;
- an object's members sorted by key, by code point (= by the bytes of the key's UTF-8);
- a number by its text as posted: `1`, `1.0`, `1e0` differ, so do `0` and `-0`, and so do 2^53 and
  2^53 + 1, which a double could not tell apart;
- a string by its decoded characters, written as ECMAScript's JSON.stringify writes them: `\"`,
  `\\`, `\b`, `\f`, `\n`, `\r`, `\t`; other characters below U+0020 and lone surrogates as `\u` and
  four lower-case hex digits; every other character as it is. No Unicode normalisation.

This is RFC 8785 but for numbers, which that RFC rewrites as doubles, and for the order of keys
beyond the Basic Multilingual Plane, which it sorts by UTF-16 units. Duplicate keys are refused:
parsers disagree about which one counts.

Test vectors, type `t`:

    args                        canonical text              hash
    {}                          ["t",{}]                    619da206ee62a0460f74656c70ce3f87
    { "b": 1, "a": [1.0, -0] }  ["t",{"a":[1.0,-0],"b":1}]  593135488224d3404d2f1652562aaf7b
    "\u00e9\/\u0001\ud800"      ["t","é/\u0001\ud800"]      1e06c7c86c4c9c293dc24b81157458b6
    9007199254740993            ["t",9007199254740993]      d334dc84546f2842a8f83d8bf6a9f2d2
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .json_text import DuplicateKeys, Number, decode_utf8, parse

_DIGEST_BYTES = 16
_Path = tuple[Any, ...]  # ("args",), or (path of the parent, key or index): spelt out only on error


def canonical_hash(type_: str, args: bytes) -> str:
    """The dedup id of a job: 32 hex digits; `args` is JSON as posted.

    Raises `NotJson`, `TooDeep` (over `MAX_DEPTH` levels) and `DuplicateKeys`, all `JsonError`.
    """
    return hash_parsed(type_, parse(decode_utf8(args)))


def hash_parsed(type_: str, args: Any) -> str:
    """As `canonical_hash`, for `args` as `json_text.parse` gives it. Raises `DuplicateKeys`."""
    return hashlib.sha256(canonical_text(type_, args)).digest()[:_DIGEST_BYTES].hex()


def canonical_text(type_: str, args: Any) -> bytes:
    """The bytes that are hashed; `args` as `json_text.parse` gives it. Raises `DuplicateKeys`."""
    out = ["[", _quoted(type_), ","]
    _render(args, ("args",), out)
    out.append("]")
    # A lone surrogate has no UTF-8; this handler writes it as the escape documented above.
    return "".join(out).encode("utf-8", "backslashreplace")


def _render(value: Any, path: _Path, out: list[str]) -> None:
    if isinstance(value, Number):
        out.append(value)
    elif isinstance(value, str):
        out.append(_quoted(value))
    elif isinstance(value, tuple):
        _render_object(value, path, out)
    elif isinstance(value, list):
        _render_array(value, path, out)
    else:
        out.append(_WORDS[value])


def _render_object(members: tuple[tuple[str, Any], ...], path: _Path, out: list[str]) -> None:
    out.append("{")
    previous = None
    for key, value in sorted(members, key=_key):
        if key == previous:
            raise DuplicateKeys(_spell((path, key)))
        if previous is not None:
            out.append(",")
        previous = key
        out.append(_quoted(key))
        out.append(":")
        _render(value, (path, key), out)
    out.append("}")


def _render_array(elements: list[Any], path: _Path, out: list[str]) -> None:
    out.append("[")
    for index, value in enumerate(elements):
        if index:
            out.append(",")
        _render(value, (path, index), out)
    out.append("]")


def _spell(path: _Path) -> str:
    if len(path) == 1:
        return str(path[0])
    part = f"[{path[1]}]" if isinstance(path[1], int) else f".{path[1]}"
    return _spell(path[0]) + part


def _key(member: tuple[str, Any]) -> str:
    return member[0]


_WORDS = {True: "true", False: "false", None: "null"}
_quoted = json.JSONEncoder(ensure_ascii=False).encode
