"""Checkpoints of the embedded queue, and moving a mark back to where the log was cut. Runs on the store's thread."""

import sqlite3

from forebay.backends.checkpoints import Checkpoint, extended
from forebay.backends.sqlite import queue_settled


def of(connection: sqlite3.Connection, topic: str, partition: int) -> tuple[Checkpoint, ...]:
    """Return the partition's checkpoints in order of offset."""
    rows = connection.execute(
        "SELECT offset, checksum, timestamp FROM checkpoints WHERE topic = ? AND partition = ? ORDER BY offset",
        (topic, partition),
    )
    return tuple(Checkpoint(*row) for row in rows)


def add(connection: sqlite3.Connection, topic: str, partition: int, newest: Checkpoint) -> None:
    """Keep one more, and of the others those that `extended` says."""
    before = of(connection, topic, partition)
    kept = extended(before, newest)
    for one in before:
        if one not in kept:
            connection.execute(
                "DELETE FROM checkpoints WHERE topic = ? AND partition = ? AND offset = ?", (topic, partition, one.offset)
            )
    connection.execute(
        "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?)",
        (topic, partition, newest.offset, newest.checksum, newest.timestamp),
    )


def rewind(connection: sqlite3.Connection, topic: str, partition: int, to: int) -> None:
    """Move the mark back, and forget all that is known of the offsets from `to` on."""
    place = (topic, partition, to)
    connection.execute("UPDATE marks SET next = ?3 WHERE topic = ?1 AND partition = ?2 AND next > ?3", place)
    connection.execute("DELETE FROM checkpoints WHERE topic = ? AND partition = ? AND offset >= ?", place)
    connection.execute("UPDATE jobs SET hold = NULL WHERE topic = ? AND partition = ? AND hold >= ?", place)
    connection.execute("UPDATE parked SET hold = NULL WHERE topic = ? AND partition = ? AND hold >= ?", place)
    queue_settled.cut(connection, topic, partition, to)
