"""Ends other than done that the log does not have yet. Runs on the store's thread."""

import sqlite3
from collections.abc import Iterator, Sequence
from heapq import merge
from operator import attrgetter

from forebay.backends.ends import MAX_BYTES, End
from forebay.backends.sqlite.headers import unpack

_DEAD = (
    "SELECT 'dead', id, type, partition, offset, attempt, error, died_at, args, headers FROM jobs "
    "WHERE topic = ? AND died_at IS NOT NULL ORDER BY died_at, id LIMIT ?"
)
_PARKED = (
    "SELECT 'parked', id, '', partition, offset, 0, error, parked_at, value, headers FROM parked "
    "WHERE topic = ? AND unwritten = 1 ORDER BY parked_at, id LIMIT ?"
)
_WRITTEN = {
    "dead": "UPDATE jobs SET died_at = NULL, hold = NULL WHERE topic = ? AND id = ? AND state = 4 AND died_at = ?",
    "parked": "UPDATE parked SET unwritten = 0, hold = NULL WHERE topic = ? AND id = ? AND parked_at = ?",
}


def unwritten(connection: sqlite3.Connection, topic: str, limit: int) -> tuple[End, ...]:
    """The oldest `limit` of them, or fewer where these have more than MAX_BYTES, but at least one."""
    found: list[End] = []
    size = 0
    for end in merge(*(_ends(connection, query, topic, limit) for query in (_DEAD, _PARKED)), key=attrgetter("at")):
        size += len(end.value)
        if len(found) == limit or (found and size > MAX_BYTES):
            break
        found.append(end)
    return tuple(found)


def _ends(connection: sqlite3.Connection, query: str, topic: str, limit: int) -> Iterator[End]:
    for kind, id_, type_, partition, offset, attempt, error, at, value, headers in connection.execute(query, (topic, limit)):
        yield End(kind, id_, type_, partition, offset, attempt, error, at, value, unpack(headers))


def written(connection: sqlite3.Connection, topic: str, ends: Sequence[End]) -> None:
    """Let their offsets go, but those of what has changed since."""
    for end in ends:
        connection.execute(_WRITTEN[end.kind], (topic, end.id, end.at))
