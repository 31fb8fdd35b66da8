"""A member's log, read while it grows: what `forebay run` writes to standard error, line by line (logfmt)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from attrs import frozen

_LINE: Final = re.compile(r"(\d{4}-\S+Z) (\w+) (\w+)((?: \w+=.*)?)")
_FIELD: Final = re.compile(r' (\w+)=("(?:[^"\\]|\\.)*"|\S*)')


@frozen
class Happening:
    """One line: when (Unix seconds), how grave, what, and its fields; `path` is one of them."""

    at: float
    level: str
    name: str
    fields: Mapping[str, str]

    @property
    def path(self) -> str:
        """The actor's place in the tree."""
        return self.fields.get("path", "")


class LogReader:
    """Keeps every event line of a file; lines of other kinds are passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._seen: list[Happening] = []

    def all(self) -> list[Happening]:
        """Return what has happened so far, oldest first."""
        self._seen.extend(parse_lines(self._new()))
        return self._seen

    def _new(self) -> str:
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            return ""
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        return whole.decode(errors="replace")


def parse_lines(text: str) -> Iterator[Happening]:
    """Yield the events among the lines of a log."""
    for line in text.splitlines():
        if match := _LINE.fullmatch(line):
            at = datetime.fromisoformat(match[1]).timestamp()
            yield Happening(at, match[2], match[3], {name: _plain(value) for name, value in _FIELD.findall(match[4])})


def _plain(value: str) -> str:
    return str(json.loads(value)) if value.startswith('"') else value
