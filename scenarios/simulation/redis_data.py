"""What a simulated Redis holds: hashes, sorted sets, strings, lists; how many bytes that takes; and the way back.

Every change goes through a few primitives, and each notes its own inverse. The notes of the last calls are kept, so that a
failover to a replica that had not heard of them can take them back.

The bytes are an estimate: what is stored, plus about what Redis 7 adds for an entry of each kind.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

KEY: Final = 100
FIELD: Final = 64
MEMBER: Final = 96
ITEM: Final = 8
"""Bytes that a key, a hash's field, a sorted set's member and a list's item take besides what they hold."""
EMPTY: Final = 2**20
"""Bytes that an empty server reports."""
KEPT: Final = 1000
"""How many of the newest writing calls can be taken back."""

V = TypeVar("V", "Hash", "SortedSet", "Text", "Items")


class Refused(Exception):
    """Redis answers with an error; the text is what it would say."""


class Hash:
    """Fields and their values."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.bytes = KEY


class SortedSet:
    """Members by score, equal scores by their bytes."""

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: list[tuple[float, bytes]] = []
        self.bytes = KEY

    def between(self, low: tuple[float, bool], high: tuple[float, bool]) -> tuple[int, int]:
        """Return the places from the first member between two scores to behind the last; each with whether it is out."""
        first = bisect_left(self.order, (math.nextafter(low[0], math.inf) if low[1] else low[0],))
        last = bisect_left(self.order, (high[0] if high[1] else math.nextafter(high[0], math.inf),))
        return first, len(self.order) if high == (math.inf, False) else last


class Text:
    """A string, as bits and ranges are set in it."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.bytes = KEY


class Items:
    """A list, from its left end to its right."""

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.bytes = KEY


Value = Hash | SortedSet | Text | Items
Step = tuple[Callable[..., None], tuple[Any, ...]]


class Data:
    """The keys. `used` is in bytes. Changes between two calls of `commit` belong to one call of a client."""

    def __init__(self) -> None:
        self.keys: dict[bytes, Value] = {}
        self.used = EMPTY
        self._now: list[Step] = []
        self._calls: deque[list[Step]] = deque(maxlen=KEPT)

    # --- reading

    def look(self, key: bytes, kind: type[V]) -> V | None:
        """Return the value of a key, None where there is none. Raises `Refused` for a value of another kind."""
        value = self.keys.get(key)
        if value is not None and type(value) is not kind:
            raise Refused("WRONGTYPE Operation against a key holding the wrong kind of value")
        return value

    # --- the primitives

    def set_field(self, key: bytes, field: bytes, value: bytes | None) -> None:
        """Set a hash's field, or remove it; an empty hash is no key."""
        found = self.look(key, Hash) or self._made(key, Hash())
        old = found.fields.get(field)
        self._now.append((self.set_field, (key, field, old)))
        if old is not None:
            self._grow(found, -FIELD - len(field) - len(old))
        if value is None:
            found.fields.pop(field, None)
            self._gone_if(key, empty=not found.fields)
        else:
            found.fields[field] = value
            self._grow(found, FIELD + len(field) + len(value))

    def set_score(self, key: bytes, member: bytes, score: float | None) -> None:
        """Set a member's score, or remove it; an empty sorted set is no key."""
        found = self.look(key, SortedSet) or self._made(key, SortedSet())
        old = found.scores.get(member)
        self._now.append((self.set_score, (key, member, old)))
        if old is not None:
            del found.order[bisect_left(found.order, (old, member))]
            self._grow(found, -MEMBER - len(member))
        if score is None:
            found.scores.pop(member, None)
            self._gone_if(key, empty=not found.scores)
        else:
            found.scores[member] = score
            insort(found.order, (score, member))
            self._grow(found, MEMBER + len(member))

    def patch(self, key: bytes, at: int, part: bytes, size: int) -> None:
        """Put `part` at a place of a string and let it have `size` bytes after that; an empty one is no key."""
        found = self.look(key, Text) or self._made(key, Text())
        old, content = len(found.content), found.content
        self._now.append((self.patch, (key, at, bytes(content[at : at + len(part)]), old)))
        content.extend(bytes(max(0, at + len(part) - old)))
        content[at : at + len(part)] = part
        del content[size:]
        self._grow(found, len(content) - old)
        self._gone_if(key, empty=not content)

    def put(self, key: bytes, place: int, item: bytes | None) -> None:
        """Insert an item into a list before a place, or (None) remove the one there; an empty list is no key."""
        found = self.look(key, Items) or self._made(key, Items())
        if item is None:
            old: bytes | None = found.items.pop(place)
            self._grow(found, -ITEM - len(old or b""))
            self._gone_if(key, empty=not found.items)
        else:
            old = None
            found.items.insert(place, item)
            self._grow(found, ITEM + len(item))
        self._now.append((self.put, (key, place, old)))

    def replace(self, key: bytes, value: Value | None) -> None:
        """Put another value in a key's place, or remove it."""
        old = self.keys.pop(key, None)
        self._now.append((self.replace, (key, old)))
        self.used += (0 if value is None else value.bytes) - (0 if old is None else old.bytes)
        if value is not None:
            self.keys[key] = value

    def _made(self, key: bytes, value: V) -> V:
        self.keys[key] = value
        self.used += value.bytes
        return value

    def _grow(self, value: Value, by: int) -> None:
        value.bytes += by
        self.used += by

    def _gone_if(self, key: bytes, *, empty: bool) -> None:
        if empty:
            self.used -= self.keys.pop(key).bytes

    # --- calls

    @property
    def changed(self) -> bool:
        """Whether anything was changed since the last `commit`."""
        return bool(self._now)

    def commit(self) -> None:
        """A client's call is over."""
        if self._now:
            self._calls.append(self._now)
            self._now = []

    def take_back(self, calls: int) -> int:
        """Undo the newest calls that changed something, as many of `calls` as are known; return how many."""
        undone = 0
        while undone < calls and self._calls:
            for primitive, arguments in reversed(self._calls.pop()):
                primitive(*arguments)
            self._now.clear()
            undone += 1
        return undone

    def clear(self) -> None:
        """Forget everything, also the way back."""
        self.keys.clear()
        self.used = EMPTY
        self._now.clear()
        self._calls.clear()
