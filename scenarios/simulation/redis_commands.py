"""The commands of a simulated Redis: those of the queue's scripts and its adapter, those of the old design, and no others.

Each is a function of the data and the words behind its name, and answers as Redis does: bytes, an integer, None, or a list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from forebay.scenarios.simulation.redis_data import Data, Hash, Items, Refused, SortedSet, Text

Words = Sequence[bytes]
Reply = Any


@frozen
class Command:
    """`writes`: it may change data. `fills`: Redis refuses it while the memory is full."""

    run: Callable[[Data, Words], Reply]
    writes: bool = False
    fills: bool = False


def score_text(score: float) -> bytes:
    """A score as Redis writes it."""
    return b"%d" % int(score) if score.is_integer() and abs(score) < 1e17 else repr(score).encode()


def _boundary(word: bytes) -> tuple[float, bool]:
    return (float(word[1:]), True) if word.startswith(b"(") else (float(word), False)


def _clip(order: Sequence[tuple[float, bytes]], first: int, last: int, options: Words) -> Reply:
    """A part of a sorted set, with LIMIT and WITHSCORES as they are asked for."""
    if b"LIMIT" in options:
        at = list(options).index(b"LIMIT")
        offset, count = int(options[at + 1]), int(options[at + 2])
        first += offset
        last = last if count < 0 else min(last, first + count)
    found = order[first:last]
    if b"WITHSCORES" in options:
        return [word for score, member in found for word in (member, score_text(score))]
    return [member for _, member in found]


# --- keys and strings


def _del(data: Data, words: Words) -> Reply:
    there = [key for key in words if key in data.keys]
    for key in there:
        data.replace(key, None)
    return len(there)


def _exists(data: Data, words: Words) -> Reply:
    return sum(key in data.keys for key in words)


def _get(data: Data, words: Words) -> Reply:
    text = data.look(words[0], Text)
    return None if text is None else bytes(text.content)


def _strlen(data: Data, words: Words) -> Reply:
    text = data.look(words[0], Text)
    return 0 if text is None else len(text.content)


def _setrange(data: Data, words: Words) -> Reply:
    key, at, part = words[0], int(words[1]), words[2]
    size = _strlen(data, words)
    if part:
        size = max(size, at + len(part))
        data.patch(key, at, part, size)
    return size


def _bit(data: Data, key: bytes, bit: int) -> tuple[int, int]:
    text = data.look(key, Text)
    byte = text.content[bit // 8] if text is not None and bit // 8 < len(text.content) else 0
    return byte, 0x80 >> bit % 8


def _getbit(data: Data, words: Words) -> Reply:
    byte, mask = _bit(data, words[0], int(words[1]))
    return int(byte & mask > 0)


def _setbit(data: Data, words: Words) -> Reply:
    key, bit, on = words[0], int(words[1]), words[2] == b"1"
    byte, mask = _bit(data, key, bit)
    data.patch(key, bit // 8, bytes((byte | mask if on else byte & ~mask,)), max(_strlen(data, words), bit // 8 + 1))
    return int(byte & mask > 0)


def _bitpos(data: Data, words: Words) -> Reply:
    """BITPOS key 0|1 [first byte]: without an end, zeros follow a string that is all ones."""
    text, wanted, first = data.look(words[0], Text), int(words[1]), int(words[2]) if len(words) > 2 else 0
    content = b"" if text is None else text.content
    if not content:
        return -1 if wanted else 0
    full = 0x00 if wanted else 0xFF
    for place in range(first, len(content)):
        if content[place] != full:
            bits = f"{content[place]:08b}"
            return place * 8 + bits.index(str(wanted))
    return -1 if wanted or first >= len(content) else len(content) * 8


# --- hashes


def _hget(data: Data, words: Words) -> Reply:
    found = data.look(words[0], Hash)
    return None if found is None else found.fields.get(words[1])


def _hmget(data: Data, words: Words) -> Reply:
    found = data.look(words[0], Hash)
    return [None if found is None else found.fields.get(field) for field in words[1:]]


def _hset(data: Data, words: Words) -> Reply:
    key, found = words[0], data.look(words[0], Hash)
    before = 0 if found is None else len(found.fields)
    for at in range(1, len(words), 2):
        data.set_field(key, words[at], words[at + 1])
    return _hlen(data, words) - before


def _hsetnx(data: Data, words: Words) -> Reply:
    if _hget(data, words) is not None:
        return 0
    data.set_field(words[0], words[1], words[2])
    return 1


def _hdel(data: Data, words: Words) -> Reply:
    key, before = words[0], _hlen(data, words)
    for field in words[1:]:
        if _hget(data, (key, field)) is not None:
            data.set_field(key, field, None)
    return before - _hlen(data, words)


def _hexists(data: Data, words: Words) -> Reply:
    return int(_hget(data, words) is not None)


def _hlen(data: Data, words: Words) -> int:
    found = data.look(words[0], Hash)
    return 0 if found is None else len(found.fields)


def _hgetall(data: Data, words: Words) -> Reply:
    found = data.look(words[0], Hash)
    return [] if found is None else [word for pair in found.fields.items() for word in pair]


def _hincrby(data: Data, words: Words) -> Reply:
    number = int(_hget(data, words) or 0) + int(words[2])
    data.set_field(words[0], words[1], b"%d" % number)
    return number


# --- sorted sets


def _zadd(data: Data, words: Words) -> Reply:
    key, before = words[0], _zcard(data, words)
    for at in range(1, len(words), 2):
        score, member = float(words[at]), words[at + 1]
        found = data.look(key, SortedSet)
        if found is None or found.scores.get(member) != score:
            data.set_score(key, member, score)
    return _zcard(data, words) - before


def _zrem(data: Data, words: Words) -> Reply:
    key, before = words[0], _zcard(data, words)
    for member in words[1:]:
        found = data.look(key, SortedSet)
        if found is not None and member in found.scores:
            data.set_score(key, member, None)
    return before - _zcard(data, words)


def _zcard(data: Data, words: Words) -> int:
    found = data.look(words[0], SortedSet)
    return 0 if found is None else len(found.scores)


def _zscore(data: Data, words: Words) -> Reply:
    found = data.look(words[0], SortedSet)
    score = None if found is None else found.scores.get(words[1])
    return None if score is None else score_text(score)


def _zrange(data: Data, words: Words) -> Reply:
    found = data.look(words[0], SortedSet)
    if found is None:
        return []
    size, first, last = len(found.order), int(words[1]), int(words[2])
    first, last = (max(0, place + size) if place < 0 else place for place in (first, last))
    return _clip(found.order, first, last + 1, words[3:])


def _zrangebyscore(data: Data, words: Words) -> Reply:
    found = data.look(words[0], SortedSet)
    if found is None:
        return []
    return _clip(found.order, *found.between(_boundary(words[1]), _boundary(words[2])), words[3:])


def _zrangebylex(data: Data, words: Words) -> Reply:
    """Members of one score by their bytes: from `-`, `[x` or `(x` to the end."""
    found = data.look(words[0], SortedSet)
    if found is None:
        return []
    low, high = words[1], words[2]
    if high != b"+":
        raise Refused("ERR the simulated Redis has ZRANGEBYLEX up to + only")
    after = [low == b"-" or (member > low[1:] if low.startswith(b"(") else member >= low[1:]) for _, member in found.order]
    first = after.index(True) if True in after else len(after)
    return _clip(found.order, first, len(found.order), words[3:])


def _zscan(data: Data, words: Words) -> Reply:
    """ZSCAN key 0 ...: all at once, as Redis answers for a small set, so that nothing moves in between."""
    found = data.look(words[0], SortedSet)
    order = [] if found is None else found.order
    return [b"0", [word for score, member in order for word in (member, score_text(score))]]


# --- lists


def _items(data: Data, key: bytes) -> list[bytes]:
    found = data.look(key, Items)
    return [] if found is None else found.items


def _lpush(data: Data, words: Words) -> Reply:
    for item in words[1:]:
        data.put(words[0], 0, item)
    return len(_items(data, words[0]))


def _lmove(data: Data, words: Words) -> Reply:
    """LMOVE from to RIGHT LEFT, as RPOPLPUSH does."""
    source, target, *ends = words
    if ends != [b"RIGHT", b"LEFT"]:
        raise Refused("ERR the simulated Redis has LMOVE from RIGHT to LEFT only")
    items = _items(data, source)
    data.look(target, Items)
    if not items:
        return None
    item = items[-1]
    data.put(source, len(items) - 1, None)
    data.put(target, 0, item)
    return item


def _lrem(data: Data, words: Words) -> Reply:
    """LREM key 1 item: the first one from the left."""
    key, count, item = words
    if count != b"1":
        raise Refused("ERR the simulated Redis has LREM of one item only")
    items = _items(data, key)
    if item not in items:
        return 0
    data.put(key, items.index(item), None)
    return 1


def _llen(data: Data, words: Words) -> Reply:
    return len(_items(data, words[0]))


COMMANDS: Final[Mapping[bytes, Command]] = {
    b"DEL": Command(_del, writes=True),
    b"EXISTS": Command(_exists),
    b"GET": Command(_get),
    b"STRLEN": Command(_strlen),
    b"SETRANGE": Command(_setrange, writes=True, fills=True),
    b"GETBIT": Command(_getbit),
    b"SETBIT": Command(_setbit, writes=True, fills=True),
    b"BITPOS": Command(_bitpos),
    b"HGET": Command(_hget),
    b"HMGET": Command(_hmget),
    b"HSET": Command(_hset, writes=True, fills=True),
    b"HSETNX": Command(_hsetnx, writes=True, fills=True),
    b"HDEL": Command(_hdel, writes=True),
    b"HEXISTS": Command(_hexists),
    b"HLEN": Command(_hlen),
    b"HGETALL": Command(_hgetall),
    b"HINCRBY": Command(_hincrby, writes=True, fills=True),
    b"ZADD": Command(_zadd, writes=True, fills=True),
    b"ZREM": Command(_zrem, writes=True),
    b"ZCARD": Command(_zcard),
    b"ZSCORE": Command(_zscore),
    b"ZRANGE": Command(_zrange),
    b"ZRANGEBYSCORE": Command(_zrangebyscore),
    b"ZRANGEBYLEX": Command(_zrangebylex),
    b"ZSCAN": Command(_zscan),
    b"LPUSH": Command(_lpush, writes=True, fills=True),
    b"LMOVE": Command(_lmove, writes=True, fills=True),
    b"LREM": Command(_lrem, writes=True),
    b"LLEN": Command(_llen),
}
