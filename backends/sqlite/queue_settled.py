"""Which offsets of the embedded queue have ended, and taking over what an earlier queue knew. Runs on the store's thread.

An offset below the mark has ended unless a job or a parked record holds it, so these themselves are the record. Only what
was restored and lies above the mark is kept apart, in `restored`, until the mark has passed it.
"""

import sqlite3
from collections.abc import Mapping
from typing import Final

from forebay.backends.checkpoints import Checkpoints
from forebay.backends.settled import SPAN, Settled

HELD: Final = 10_000
"""Held offsets that are looked at: beyond the last of them nothing is said, so that a large backlog costs no more."""


def settled(connection: sqlite3.Connection, topic: str) -> dict[int, Settled]:
    """What has ended, of every partition that has a mark."""
    marks = connection.execute("SELECT partition, next FROM marks WHERE topic = ? ORDER BY partition", (topic,)).fetchall()
    return {partition: _settled(connection, topic, partition, next_) for partition, next_ in marks}


def _settled(connection: sqlite3.Connection, topic: str, partition: int, next_: int) -> Settled:
    holds = held(connection, topic, partition, HELD)
    low = holds[0] if holds else next_
    before = restored(connection, topic, partition)
    known = max(next_, before.end if before else 0) if len(holds) < HELD else holds[-1]
    return Settled.of(low, _bits(low, min(known, low + SPAN), next_, holds, before))


def held(connection: sqlite3.Connection, topic: str, partition: int, limit: int) -> list[int]:
    """The smallest offsets that jobs and parked records keep from being settled, in order."""
    found: list[int] = []
    for table in ("jobs", "parked"):
        rows = connection.execute(
            f"SELECT hold FROM {table} "  # noqa: S608 - ours
            "WHERE topic = ? AND partition = ? AND hold IS NOT NULL ORDER BY hold LIMIT ?",
            (topic, partition, limit),
        )
        found += [hold for (hold,) in rows]
    return sorted(found)[:limit]


def _bits(low: int, end: int, next_: int, held: list[int], before: Settled | None) -> bytes:
    """The bits from `low`, rounded down, to `end`: below the mark all but those that are held, and what was restored."""
    first = low - low % 8
    full, rest = divmod(min(end, next_) - first, 8)
    size = (end - first + 7) // 8
    bits = bytearray((b"\xff" * full + bytes([0xFF00 >> rest & 0xFF])).ljust(size, b"\0")[:size])
    for offset in held:
        if offset < end:
            bits[(offset - first) // 8] &= ~(0x80 >> offset % 8)
    if before is None:
        return bytes(bits)
    had = before.ended[(first - before.first) // 8 :][:size].ljust(size, b"\0")
    return (int.from_bytes(bits) | int.from_bytes(had)).to_bytes(size)


def restored(connection: sqlite3.Connection, topic: str, partition: int) -> Settled | None:
    """What may lie above the mark and has ended; None where nothing was restored, or the mark has passed it."""
    row = connection.execute(
        "SELECT low, ended FROM restored WHERE topic = ? AND partition = ?", (topic, partition)
    ).fetchone()
    return None if row is None else Settled(*row)


def forget(connection: sqlite3.Connection, topic: str, partition: int) -> None:
    """The mark has passed what was restored."""
    connection.execute("DELETE FROM restored WHERE topic = ? AND partition = ?", (topic, partition))


def cut(connection: sqlite3.Connection, topic: str, partition: int, to: int) -> None:
    """Of what was restored, what is said of the offsets from `to` on is void."""
    before = restored(connection, topic, partition)
    if before is not None:
        forget(connection, topic, partition)
        left = before.below(to)
        if left.ended:
            connection.execute("INSERT INTO restored VALUES (?, ?, ?, ?)", (topic, partition, left.low, left.ended))


def restore(connection: sqlite3.Connection, topic: str, found: Mapping[int, Settled], checkpoints: Checkpoints) -> None:
    """Give partitions without a mark their low mark, what has ended above it, and the checkpoints."""
    for partition, one in found.items():
        added = connection.execute(
            "INSERT INTO marks (topic, partition, next) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (topic, partition, one.low)
        )
        if added.rowcount == 1 and one.ended:
            connection.execute("INSERT INTO restored VALUES (?, ?, ?, ?)", (topic, partition, one.low, one.ended))
        if added.rowcount == 1:
            rows = [
                (topic, partition, point.offset, point.checksum, point.timestamp) for point in checkpoints.get(partition, ())
            ]
            connection.executemany("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?)", rows)
