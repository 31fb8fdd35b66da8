"""Snapshots of what has ended, in the log: the topic `<topic>.settled` (design: Marks; row R14).

A record of its partition p tells of partition p of both of the topic's lanes. The newest counts. Ends are for ever, so an
older snapshot, also one that an ended term wrote late, is never wrong: it only lets jobs run twice that have ended since.
Whether the log still holds the records that ended is told by the checkpoints.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from attrs import astuple, evolve, field, frozen

from forebay.backends.checkpoints import Checkpoint, Checkpoints
from forebay.backends.errors import UnknownTopic
from forebay.backends.ports import Acks, Log, Record, Token, TopicSpec
from forebay.backends.settled import SPAN, Settled
from forebay.backends.tails import tails
from forebay.jobs.lanes import settled_topic

KEYS: Final = (b"even", b"odd")
"""Of a partition's records in turn, so that compaction leaves two: the newest, and one in case that is damaged."""

MAX_RECORD: Final = 2 * SPAN // 8 + 4096
"""Bytes of the longest snapshot: two partitions, and what is around them."""

LOOK_BACK: Final = 4
"""Offsets from the end within which the newest record that is not damaged is looked for."""

_VERSION: Final = 2
_READ: Final = (1, _VERSION)  # 1 has no checkpoints
_CHECKPOINTS: Final = 40  # of a partition, the newest: enough for half of 2^40 offsets, and a record has room for no more


class Damaged(Exception):
    """A record that is no snapshot."""


class _Entry(msgspec.Struct, array_like=True, frozen=True):
    mark: int
    low: int
    ended: bytes
    checkpoints: tuple[tuple[int, int, int], ...] = ()


class _Body(msgspec.Struct, array_like=True, frozen=True):
    version: int
    generation: int
    index: int
    entries: tuple[_Entry, ...]


_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(_Body).decode


@frozen
class Snapshot:
    """What the holder of `token` saw: what has ended, by the numbers that the queue knows partitions by."""

    token: Token
    settled: Mapping[int, Settled]
    checkpoints: Checkpoints = field(factory=dict)


@frozen
class Known:
    """What was known of partitions, by the numbers that the queue knows them by."""

    settled: Mapping[int, Settled] = field(factory=dict)
    checkpoints: Checkpoints = field(factory=dict)


def snapshots_spec(topic: TopicSpec) -> TopicSpec:
    """Return the topic of snapshots as the log must have it."""
    return evolve(topic, name=settled_topic(topic.name), max_record=MAX_RECORD, acks=Acks.LEADER, compact=True)


def encode(snapshot: Snapshot) -> bytes:
    """Return a record's value: the CRC-32 of the rest, big-endian, and MessagePack."""
    entries = tuple(
        _Entry(mark, one.low, one.ended, _points(snapshot.checkpoints.get(mark, ())))
        for mark, one in sorted(snapshot.settled.items())
    )
    body = _pack(_Body(_VERSION, snapshot.token.generation, snapshot.token.index, entries))
    return zlib.crc32(body).to_bytes(4) + body


def _points(checkpoints: Sequence[Checkpoint]) -> tuple[tuple[int, int, int], ...]:
    return tuple(astuple(point) for point in checkpoints[-_CHECKPOINTS:])


def decode(value: bytes) -> Snapshot:
    """Return what `encode` was given. Raises `Damaged`."""
    check, body = value[:4], value[4:]
    if zlib.crc32(body).to_bytes(4) != check:
        raise Damaged(f"the checksum of its {len(value)} bytes is wrong")
    try:
        found = _unpack(body)
    except msgspec.MsgspecError as error:
        raise Damaged(str(error)) from error
    if found.version not in _READ:
        raise Damaged(f"it has version {found.version} and this forebay knows the versions up to {_VERSION}")
    settled = {entry.mark: Settled.of(entry.low, entry.ended) for entry in found.entries}
    checkpoints = {entry.mark: tuple(Checkpoint(*point) for point in entry.checkpoints) for entry in found.entries}
    kept = {mark: points for mark, points in checkpoints.items() if points}
    return Snapshot(Token(found.generation, found.index), settled, kept)


async def read_newest(log: Log, topic: str, damaged: Callable[[Record, Damaged], None]) -> Known:
    """Return what the newest snapshots say of every partition of which there is one; tell `damaged` of what cannot be read.

    Nothing where the log has no such topic. Raises `Unavailable`; takes as long as the log does.
    """
    try:
        connection = await log.connect(settled_topic(topic))
    except UnknownTopic:
        return Known()
    last: dict[int, list[Record]] = {}
    try:
        async for partition, records in tails(connection, await connection.extents(), LOOK_BACK):
            last.setdefault(partition, []).extend(records)
    finally:
        await connection.close()
    newest = [found for records in last.values() if (found := _newest(records, damaged)) is not None]
    settled = {mark: one for found in newest for mark, one in found.settled.items()}
    return Known(settled, {mark: points for found in newest for mark, points in found.checkpoints.items()})


def _newest(records: Sequence[Record], damaged: Callable[[Record, Damaged], None]) -> Snapshot | None:
    for record in reversed(records):
        try:
            return decode(record.value)
        except Damaged as error:
            damaged(record, error)
    return None
