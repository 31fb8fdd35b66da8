"""Records on their way to one partition, and the record batch that they become on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from attrs import define, field

from forebay.backends.ports import Acks, NewRecord, Record

BATCH: Final = 256 * 1024
"""Bytes at which a batch is full. Every topic takes at least that, or one record if it is longer."""

OVERHEAD: Final = 4096
"""Bytes that a batch of one record may take beside key, value and headers."""

_NO_LIMIT: Final = 2**31 - 1  # of the builder: how much goes into a batch is decided here


def size_of(record: NewRecord | Record) -> int:
    """Return the bytes of value, key and headers together."""
    size = len(record.value) + len(record.key or b"")
    for name, value in record.headers:
        size += (len(name) if name.isascii() else len(name.encode())) + len(value)
    return size


@define(eq=False)
class Slice:
    """Consecutive records of one append to one partition. `answer` becomes the first one's offset.

    `asked`: it was in a request whose answer did not come, so it may be in the log.
    """

    topic: str
    partition: int
    acks: Acks
    records: Sequence[NewRecord]
    size: int
    deadline: float
    answer: asyncio.Future[int]
    asked: bool = field(default=False)

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.partition

    def fail(self, error: Exception) -> None:
        """End it without an offset."""
        if not self.answer.done():
            self.answer.set_exception(error)


def cut(records: Sequence[NewRecord]) -> Iterator[tuple[Sequence[NewRecord], int]]:
    """Cut the records of one partition into parts of at most `BATCH` bytes, or one record; yield part and size."""
    begin = size = 0
    for index, record in enumerate(records):
        more = size_of(record) + _PER_RECORD
        if size and size + more > BATCH:
            yield records[begin:index], size
            begin, size = index, 0
        size += more
    yield records[begin:], size


_PER_RECORD: Final = 64  # bytes: lengths, offset and time of a record, generously


def encode(slices: Sequence[Slice], now: int) -> bytes:
    """Return one record batch (magic 2, uncompressed) of all the slices' records, stamped `now` (Unix ms)."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, _NO_LIMIT)
    index = 0
    for part in slices:
        for record in part.records:
            builder.append(index, now, record.key, record.value, list(record.headers))
            index += 1
    return bytes(builder.build())
