"""What the embedded log does to its file. Every function runs on the store's thread, within a
transaction.

One table holds all records. Its key is the partition's slot (a small number given when the
partition is made) in the upper bits and the offset in the lower 40, so that one partition's records
lie side by side, an append goes to the end of its partition, and a fetch is one range scan without
a second index.
"""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence

from attrs import frozen

from forebay.backends.errors import BackendError
from forebay.backends.ports import Extent, NewRecord, OutOfRange, Record, TopicSpec, Want
from forebay.backends.sqlite.headers import pack, unpack
from forebay.backends.sqlite.store import Schema

SCHEMA = Schema(
    kind="log",
    mark=0x46624C67,  # "FbLg"
    version=2,
    script="""
        CREATE TABLE topics (
            name TEXT PRIMARY KEY, partitions INTEGER NOT NULL,
            retention REAL NOT NULL, max_record INTEGER NOT NULL,  -- seconds, bytes
            compact INTEGER NOT NULL  -- whether the newest record of each key is enough
        ) WITHOUT ROWID;
        CREATE TABLE partitions (
            slot INTEGER PRIMARY KEY,
            topic TEXT NOT NULL, partition INTEGER NOT NULL,
            first INTEGER NOT NULL DEFAULT 0,      -- the oldest offset kept
            next INTEGER NOT NULL DEFAULT 0,       -- the offset of the next record
            committed INTEGER NOT NULL DEFAULT 0,  -- the relay has everything below it
            UNIQUE (topic, partition)
        );
        CREATE TABLE records (
            number INTEGER PRIMARY KEY,            -- slot << 40 | offset
            timestamp INTEGER NOT NULL, key BLOB, headers BLOB, value BLOB NOT NULL
        )
    """,
)

_OFFSET_BITS = 40
FETCH_BYTES = 8 * 1024 * 1024
_PURGE_STEP = 2_000  # records looked at in one transaction, so that appends get their turn in between


@frozen
class _Slot:
    slot: int
    first: int
    next: int
    committed: int

    def number(self, offset: int) -> int:
        return self.slot << _OFFSET_BITS | offset


def topics(connection: sqlite3.Connection) -> dict[str, TopicSpec]:
    """Every topic of the file by name."""
    rows = connection.execute("SELECT name, partitions, retention, max_record, compact FROM topics")
    return {row[0]: TopicSpec(row[0], row[1], row[2], row[3], compact=bool(row[4])) for row in rows}


def ensure(connection: sqlite3.Connection, wanted: Sequence[TopicSpec]) -> dict[str, TopicSpec]:
    """Create and widen; return all topics as they are then. Raises `BackendError` where a topic
    would shrink.
    """
    known = topics(connection)
    for spec in wanted:
        have = known.get(spec.name)
        if have is not None and spec.partitions < have.partitions:
            raise BackendError(
                f"topic {spec.name!r} has {have.partitions} partitions, not {spec.partitions}; "
                "a topic never loses partitions: ask for as many or make a new topic"
            )
        _write_topic(connection, spec, 0 if have is None else have.partitions)
    return topics(connection)


def _write_topic(connection: sqlite3.Connection, spec: TopicSpec, have: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO topics (name, partitions, retention, max_record, compact) VALUES (?, ?, ?, ?, ?)",
        (spec.name, spec.partitions, spec.retention, spec.max_record, spec.compact),
    )
    connection.executemany(
        "INSERT INTO partitions (topic, partition) VALUES (?, ?)",
        [(spec.name, partition) for partition in range(have, spec.partitions)],
    )


def append(
    connection: sqlite3.Connection, records: Sequence[NewRecord], now: int, compacted: Collection[tuple[str, int]]
) -> tuple[int, ...]:
    """Write records of known partitions and return their offsets. `now` is Unix ms.

    `compacted`: the topics and partitions among them of which older records with the same key go.
    """
    slots: dict[tuple[str, int], _Slot] = {}
    ends: dict[tuple[str, int], int] = {}
    offsets, rows = [], []
    for record in records:
        place = (record.topic, record.partition)
        if place not in slots:
            slots[place] = _slot(connection, *place)
            ends[place] = slots[place].next
        number = slots[place].number(ends[place])
        rows.append((number, now, record.key, pack(record.headers), record.value))
        offsets.append(ends[place])
        ends[place] += 1
    connection.executemany("INSERT INTO records (number, timestamp, key, headers, value) VALUES (?, ?, ?, ?, ?)", rows)
    connection.executemany(
        "UPDATE partitions SET next = ? WHERE slot = ?",
        [(end, slots[place].slot) for place, end in ends.items()],
    )
    for topic, partition in compacted:
        compact(connection, topic, partition)
    return tuple(offsets)


def compact(connection: sqlite3.Connection, topic: str, partition: int) -> None:
    """Keep a partition's newest record of each key. Whatever was kept before is few, so this costs little each time."""
    slot = _slot(connection, topic, partition)
    bounds = (slot.number(slot.first), slot.number(slot.next))
    connection.execute(
        "DELETE FROM records WHERE number >= ? AND number < ? AND number NOT IN "
        "(SELECT max(number) FROM records WHERE number >= ? AND number < ? GROUP BY key)",
        (*bounds, *bounds),
    )
    oldest = connection.execute("SELECT min(number) FROM records WHERE number >= ? AND number < ?", bounds).fetchone()[0]
    connection.execute("UPDATE partitions SET first = ? WHERE slot = ?", (oldest - slot.number(0), slot.slot))


def extents(connection: sqlite3.Connection, topic: str) -> dict[int, Extent]:
    """The extent of every partition of a topic."""
    rows = connection.execute("SELECT partition, first, next FROM partitions WHERE topic = ? ORDER BY partition", (topic,))
    return {partition: Extent(first, end) for partition, first, end in rows}


def fetch(
    connection: sqlite3.Connection, topic: str, wants: Mapping[int, Want]
) -> dict[int, tuple[Record, ...] | OutOfRange]:
    """What is there of each want, in the order of `wants`, until `FETCH_BYTES` are reached."""
    found: dict[int, tuple[Record, ...] | OutOfRange] = {}
    room = FETCH_BYTES
    for partition, want in wants.items():
        slot = _slot(connection, topic, partition)
        if not slot.first <= want.offset <= slot.next:
            found[partition] = OutOfRange(Extent(slot.first, slot.next))
        elif room > 0:
            records, room = _take(_scan(connection, topic, partition, slot, want), room)
            if records:
                found[partition] = records
    return found


def _take(records: Iterator[Record], room: int) -> tuple[tuple[Record, ...], int]:
    """Records until `room` bytes are used, and the bytes left (none left: no other partition gets
    any).

    A first record that is too large for a whole answer is taken alone.
    """
    taken: list[Record] = []
    for record in records:
        size = _size(record)
        if size > room and (taken or room < FETCH_BYTES):
            return tuple(taken), 0
        taken.append(record)
        room -= size
    return tuple(taken), room


def _scan(connection: sqlite3.Connection, topic: str, partition: int, slot: _Slot, want: Want) -> Iterator[Record]:
    rows = connection.execute(
        "SELECT number, timestamp, value, key, headers FROM records "
        "WHERE number >= ? AND number < ? ORDER BY number LIMIT ?",
        (slot.number(want.offset), slot.number(slot.next), want.max_records),
    )
    for number, timestamp, value, key, headers in rows:
        offset = number - slot.number(0)
        yield Record(topic, partition, offset, timestamp, value, key, unpack(headers))


def _size(record: Record) -> int:
    return len(record.value) + len(record.key or b"") + header_bytes(record)


def header_bytes(record: Record | NewRecord) -> int:
    """Bytes that the record's headers take: names and values."""
    return sum(len(name.encode()) + len(value) for name, value in record.headers)


def commit(connection: sqlite3.Connection, topic: str, offsets: Mapping[int, int]) -> None:
    """Note where the relay stands."""
    connection.executemany(
        "UPDATE partitions SET committed = ? WHERE topic = ? AND partition = ?",
        [(offset, topic, partition) for partition, offset in offsets.items()],
    )


def purge(connection: sqlite3.Connection, topic: str, partition: int, before: int) -> bool:
    """Delete from the start of a partition what is older than `before` (Unix ms) and relayed; one
    bounded step.

    Only a prefix goes, so offsets stay contiguous even where the wall clock has jumped. Returns
    whether there may be more.
    """
    slot = _slot(connection, topic, partition)
    end = min(slot.committed, slot.next, slot.first + _PURGE_STEP)
    if end <= slot.first:
        return False
    kept = connection.execute(
        "SELECT number FROM records WHERE number >= ? AND number < ? AND timestamp >= ? ORDER BY number LIMIT 1",
        (slot.number(slot.first), slot.number(end), before),
    ).fetchone()
    first = end if kept is None else kept[0] - slot.number(0)
    connection.execute(
        "DELETE FROM records WHERE number >= ? AND number < ?",
        (slot.number(slot.first), slot.number(first)),
    )
    connection.execute("UPDATE partitions SET first = ? WHERE slot = ?", (first, slot.slot))
    return first == slot.first + _PURGE_STEP


def _slot(connection: sqlite3.Connection, topic: str, partition: int) -> _Slot:
    row = connection.execute(
        "SELECT slot, first, next, committed FROM partitions WHERE topic = ? AND partition = ?",
        (topic, partition),
    ).fetchone()
    if row is None:
        raise BackendError(f"{topic}/{partition}: the log has no such partition")
    return _Slot(*row)
