"""Keys and values as Redis holds them. Bodies are MessagePack, written once; no script reads them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from forebay.backends.checkpoints import Checkpoint, Checkpoints
from forebay.backends.parked import parked_id
from forebay.backends.ports import Claim, Headers, JobState, Mark, Outcome, ParkedRecord, QueuedJob, Retry
from forebay.backends.settled import Settled

Word = str | bytes | int

PIECE: Final = 8192
"""Bytes of one piece of a bitmap of ended offsets; settle.lua has the same."""

STATES: Final = (JobState.PENDING, JobState.DELAYED, JobState.RETRYING, JobState.IN_FLIGHT, JobState.DEAD)
"""The states by the number that a record holds."""


def prefix(topic: str) -> str:
    """What every key of the topic begins with; the braces make it one hash tag."""
    return f"forebay:{{{topic}}}:"


class Body(msgspec.Struct, array_like=True, frozen=True):
    """What a job's worker gets."""

    type: str
    enqueued_at: int
    headers: Headers
    args: bytes


class ParkedBody(msgspec.Struct, array_like=True, frozen=True):
    """A record that can never be a job. write.lua puts the time before it, in Unix ms."""

    partition: int
    offset: int
    error: str
    headers: Headers
    value: bytes


pack: Final = msgspec.msgpack.Encoder().encode
unpack_body: Final = msgspec.msgpack.Decoder(Body).decode
unpack_parked: Final = msgspec.msgpack.Decoder(ParkedBody).decode


def items(topic: str, partition: int, batch: Sequence[QueuedJob | ParkedRecord]) -> Iterator[tuple[Word, ...]]:
    """The items of a batch as `write.lua` takes them, in order of offset."""
    for item in sorted(batch, key=lambda item: item.offset):
        match item:
            case QueuedJob():
                body = pack(Body(item.type, item.enqueued_at, item.headers, item.args))
                dedup = "" if item.dedup is None else f"={item.dedup}"
                ready_at = max(item.enqueued_at, item.not_before)
                yield "job", item.offset, item.id, dedup, ready_at, item.not_before, body
            case ParkedRecord():
                place = parked_id(topic, partition, item.offset)
                body = pack(ParkedBody(partition, item.offset, item.error, item.headers, item.value))
                yield "parked", item.offset, place, "", 0, 0, body


def outcome_words(outcome: Outcome) -> tuple[Word, ...]:
    """An outcome as `end.lua` takes it."""
    delay = math.ceil(outcome.delay * 1000) if isinstance(outcome, Retry) else 0
    return type(outcome).__name__.lower(), outcome.id, outcome.epoch, max(delay, 0), getattr(outcome, "error", "")


def marks(answer: Sequence[Sequence[bytes]]) -> Mapping[int, Mark]:
    """The answer of `marks()` in fence.lua, in order of partition."""
    following, settled, kept = answer
    low = _table(settled)
    places = {int(field): _checkpoints(text) for field, text in zip(kept[::2], kept[1::2], strict=True)}
    return {
        partition: Mark(next_, min(low[partition], next_), places.get(partition, ()))
        for partition, next_ in sorted(_table(following).items())
    }


def _checkpoints(text: bytes) -> tuple[Checkpoint, ...]:
    numbers = [int(word) for word in text.split()]
    return tuple(Checkpoint(*numbers[at : at + 3]) for at in range(0, len(numbers), 3))


def checkpoint_words(checkpoint: Checkpoint | None) -> tuple[Word, Word, Word]:
    """A checkpoint as `write.lua` takes it."""
    return ("", "", "") if checkpoint is None else (checkpoint.offset, checkpoint.checksum, checkpoint.timestamp)


def _table(flat: Sequence[bytes]) -> dict[int, int]:
    return {int(field): int(value) for field, value in zip(flat[::2], flat[1::2], strict=True)}


def settled(low: bytes, pieces: Sequence[bytes | None]) -> Settled:
    """The answer of `settled.lua`: the low mark, and the pieces of the bitmap from the one that it lies in on."""
    bits = b"".join((piece or b"").ljust(PIECE, b"\0") for piece in pieces)
    return Settled.of(int(low), bits[int(low) % (8 * PIECE) // 8 :])


def settled_words(settled: Mapping[int, Settled], checkpoints: Checkpoints) -> Iterator[Word]:
    """What was known as `restore.lua` takes it: partition, low mark, first offset of the bits, the bits, the checkpoints."""
    for partition, one in settled.items():
        points = (f"{point.offset} {point.checksum} {point.timestamp}" for point in checkpoints.get(partition, ()))
        yield from (partition, one.low, one.first, one.ended, " ".join(points))


def claim(topic: str, sequence: int, row: Sequence[Any]) -> Claim:
    """One row of the answer of `claim.lua`."""
    id_, epoch, attempt, packed = row
    body = unpack_body(packed)
    return Claim(
        topic, id_.decode(), body.type, int(epoch), int(attempt), sequence, body.args, body.enqueued_at, body.headers
    )
