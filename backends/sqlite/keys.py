"""The embedded coordination's keys and locks. Runs on the store's thread.

`modify_index` comes from one counter that only grows. A deleted key keeps its row, without a value,
so that a watcher sees the deletion as a change and the counter's number of it stays.
"""

import sqlite3

from attrs import frozen

from forebay.backends.ports import Entry
from forebay.backends.sqlite.store import Schema

SCHEMA = Schema(
    kind="coordination",
    mark=0x4662436F,  # "FbCo"
    version=1,
    script="""
        CREATE TABLE changes (last INTEGER NOT NULL);
        INSERT INTO changes VALUES (1);
        CREATE TABLE keys (
            key TEXT PRIMARY KEY, value BLOB, modify_index INTEGER NOT NULL, session TEXT,
            locked_until REAL  -- end of the lock delay on this process's monotonic clock
        ) WITHOUT ROWID;
        CREATE INDEX keys_session ON keys (session) WHERE session IS NOT NULL
    """,
)

NEVER_SET = 1  # the index of a key that was never set: the counter begins above it


@frozen
class Seen:
    """A key and the index to go on watching from."""

    entry: Entry | None
    index: int


def forget_sessions(connection: sqlite3.Connection) -> None:
    """At start: the folder admits one process, so no session of an earlier one lives.

    No lock delay: it protects against a holder that still acts, and there is none left.
    """
    connection.execute("UPDATE keys SET locked_until = NULL")
    for key in _held_by_any(connection):
        _change(connection, key, "session = NULL")


def read(connection: sqlite3.Connection, key: str) -> Seen:
    """The key as it is."""
    row = connection.execute("SELECT value, modify_index, session FROM keys WHERE key = ?", (key,)).fetchone()
    if row is None:
        return Seen(None, NEVER_SET)
    value, index, session = row
    return Seen(None if value is None else Entry(key, value, index, session), index)


def under(connection: sqlite3.Connection, prefix: str) -> tuple[Entry, ...]:
    """The keys that begin with a prefix, in order."""
    rows = connection.execute(
        "SELECT key, value, modify_index, session FROM keys WHERE substr(key, 1, ?) = ? AND value IS NOT NULL ORDER BY key",
        (len(prefix), prefix),
    )
    return tuple(Entry(*row) for row in rows.fetchall())


def put(connection: sqlite3.Connection, key: str, value: bytes) -> None:
    """Set a value."""
    _change(connection, key, "value = ?", value)


def delete(connection: sqlite3.Connection, key: str) -> None:
    """Remove the key and with it the lock on it."""
    if read(connection, key).entry is not None:
        _change(connection, key, "value = NULL, session = NULL")


def acquire(connection: sqlite3.Connection, key: str, session: str, value: bytes, now: float) -> bool:
    """Take the lock, or take it again."""
    row = connection.execute("SELECT session, locked_until FROM keys WHERE key = ?", (key,)).fetchone()
    holder, locked_until = row or (None, None)
    if holder not in (None, session) or (locked_until is not None and now < locked_until):
        return False
    _change(connection, key, "value = ?, session = ?, locked_until = NULL", value, session)
    return True


def release(connection: sqlite3.Connection, key: str, session: str) -> bool:
    """Give the lock back, without a lock delay."""
    entry = read(connection, key).entry
    if entry is None or entry.session != session:
        return False
    _change(connection, key, "session = NULL")
    return True


def release_all(connection: sqlite3.Connection, session: str, locked_until: float) -> tuple[str, ...]:
    """Release what an ended session held, with its lock delay; return the keys."""
    held = tuple(
        key for (key,) in connection.execute("SELECT key FROM keys WHERE session = ? ORDER BY key", (session,)).fetchall()
    )
    for key in held:
        _change(connection, key, "session = NULL, locked_until = ?", locked_until)
    return held


def _held_by_any(connection: sqlite3.Connection) -> tuple[str, ...]:
    rows = connection.execute("SELECT key FROM keys WHERE session IS NOT NULL ORDER BY key")
    return tuple(key for (key,) in rows.fetchall())


def _change(connection: sqlite3.Connection, key: str, assignment: str, *values: object) -> None:
    """Apply an assignment to the key's row, made where missing, with the counter's next number."""
    connection.execute("UPDATE changes SET last = last + 1")
    connection.execute("INSERT INTO keys (key, modify_index) VALUES (?, 0) ON CONFLICT DO NOTHING", (key,))
    connection.execute(
        f"UPDATE keys SET {assignment}, modify_index = (SELECT last FROM changes) "  # noqa: S608 - ours
        "WHERE key = ?",
        (*values, key),
    )
