"""What Redis' MONITOR shows of the relay's scripts: which ranges were taken, which calls refused and why.

A script's call is one line, and each command of the script one more, marked `lua`, until the next call. A `write` that
moved its mark took its range; one that counted itself in the fence came too late.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Final

from attrs import define, field, frozen

from forebay.backends.redis.scripts import SCRIPTS

_LINE: Final = re.compile(r"\+?(\d+\.\d+) \[\d+ (\S+)\] (.*)", re.DOTALL)
_WORD: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NAMES: Final = {script.sha: script.name for script in SCRIPTS}
_WRITES: Final = frozenset({"HSET", "HSETNX", "HDEL", "HINCRBY", "ZADD", "ZREM", "SETBIT", "SETRANGE"})
_WORDS: Final = 11
"""As many words of a call as are looked at: up to the range's end."""


@frozen
class Taken:
    """A range that the queue took, at a Unix time in seconds."""

    at: float
    topic: str
    token: tuple[int, int]
    epoch: str
    partition: int
    start: int
    to: int


@frozen
class _Call:
    at: float
    script: str
    words: tuple[str, ...]


@define
class MonitorLines:
    """Reads line by line. `take` gets each range; `refused` counts by reason: stale, missing, mismatch; `changed` counts the
    calls that changed something.
    """

    take: Callable[[Taken], None]
    refused: Counter[str] = field(factory=Counter)
    changed: int = 0
    _call: _Call | None = None
    _done: tuple[str, ...] = ()
    _wrote: bool = False

    def feed(self, line: str) -> None:
        """The next line."""
        match = _LINE.match(line)
        if match is None:
            return
        words = [found[1] for found in _first_words(match[3])]
        if match[2] == "lua":
            self._within(words)
            return
        self.settle()
        if words and words[0].upper() == "EVALSHA" and words[1] in _NAMES:
            self._call = _Call(float(match[1]), _NAMES[words[1]], tuple(words[3:]))

    def settle(self) -> None:
        """The call is over: say what became of it."""
        call, done = self._call, self._done
        self.changed += self._wrote
        self._call, self._done, self._wrote = None, (), False
        if call is None:
            return
        if "took" in done and call.script == "write":
            self.take(_taken(call))
        elif "stale" in done:
            self.refused["stale"] += 1
        elif done == ("fence",):
            self.refused["missing"] += 1
        elif done == ("fence", "mark") and call.script == "write":
            self.refused["mismatch"] += 1

    def _within(self, words: list[str]) -> None:
        if self._call is None or len(words) < 2:
            return
        command, key = words[0].upper(), words[1].rpartition(":")[2]
        self._wrote = self._wrote or command in _WRITES
        if command == "HSET" and key == "marks":
            self._done += ("took",)
        elif command == "HINCRBY" and key == "fence" and words[2] == "refused":
            self._done += ("stale",)
        elif command == "HMGET" and key == "fence":
            self._done += ("fence",)
        elif command == "HGET" and key == "marks":
            self._done += ("mark",)
        elif command not in {"TIME", "DEL"}:
            self._done += ("more",)


def _first_words(text: str) -> list[re.Match[str]]:
    """The first words of a call, which may have many thousand more."""
    return [match for _, match in zip(range(_WORDS), _WORD.finditer(text), strict=False)]


def _taken(call: _Call) -> Taken:
    key, _, generation, index, epoch, partition, start, to = call.words
    topic = key[key.index("{") + 1 : key.rindex("}")]
    return Taken(call.at, topic, (int(generation), int(index)), epoch, int(partition), int(start), int(to))
