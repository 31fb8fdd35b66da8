"""Records out of what a broker sent: record batches as they lie in the log, the last one maybe cut short.

Kafka's read_committed: records of aborted transactions and the marks that end transactions are passed over.

Anybody may append to a topic, in a codec that is not installed here or with a bug of his own, and a disk may damage what was
right. Such a batch must hold up neither its neighbours nor other partitions, so its records are told by their places.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from aiokafka import codec, errors
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from forebay.backends.ports import Record

_HEAD: Final = struct.Struct(">qiib")  # first offset, bytes that follow those two, epoch of the leader, magic
_LENGTH_ENDS: Final = 12

_CODECS: Final = "pip install 'aiokafka[lz4,snappy,zstd]', start forebay anew and submit the record again"
_BROKEN: Final = "look at the program that wrote it"
_DAMAGED: Final = "this batch fails its checksum: look at the disks of the brokers that hold it"


class Answer:
    """What one fetch brought of one partition. Iterate it once: the records from `begin` on, in order.

    `next` is the first offset that has not been passed yet; it also moves over offsets without a record.

    The records of a batch that cannot be unpacked are `unreadable`. So is one record where the batch is not as its producer
    made it: then its length cannot be believed, and what follows has to be asked for anew, from `next` on.
    """

    def __init__(self, topic: str, partition: int, data: Any, aborted: Sequence[tuple[int, int]] | None, begin: int) -> None:
        self._topic = topic
        self._partition = partition
        self._data = data
        self._aborted = sorted(aborted or (), key=lambda found: found[1], reverse=True)  # (producer, first offset)
        self._aborting: set[int] = set()
        self.next = begin

    def __iter__(self) -> Iterator[Record]:
        topic, partition = self._topic, self._partition
        for batch, epoch in self._batches():
            if batch is None:
                yield self._unreadable(epoch, 0, _DAMAGED)
                return
            try:
                for found in () if self._hidden(batch) else batch:
                    offset = found.offset
                    if offset >= self.next:  # a batch comes whole, also when it begins before what was asked for
                        self.next = offset + 1
                        headers = tuple([(name, value or b"") for name, value in found.headers])
                        yield Record(
                            topic, partition, offset, found.timestamp, found.value or b"", found.key, headers, epoch
                        )
            except _undecodable() as error:
                why = f"this batch of {self.next} to {batch.next_offset - 1} cannot be read here: {error}; {_advice(error)}"
                while self.next < batch.next_offset:
                    yield self._unreadable(epoch, getattr(batch, "max_timestamp", 0), why)  # old formats do not say it
            self.next = max(self.next, batch.next_offset)

    def _unreadable(self, epoch: int, timestamp: int, why: str) -> Record:
        """Pass the record at `next`."""
        self.next += 1
        return Record(self._topic, self._partition, self.next - 1, timestamp, b"", epoch=epoch, unreadable=why)

    def _batches(self) -> Iterator[tuple[Any | None, int]]:
        """Yield each whole batch, None if it is damaged, and the epoch of its leader, which old formats do not say."""
        data, begin = self._data, 0
        while begin + _HEAD.size <= len(data):
            _, length, epoch, magic = _HEAD.unpack_from(data, begin)
            end = begin + _LENGTH_ENDS + length
            if end > len(data):
                return
            batch = _intact(data[begin:end])
            yield batch, epoch if magic >= 2 else 0
            begin = end

    def _hidden(self, batch: Any) -> bool:
        """Whether the batch has no records for readers."""
        if batch.producer_id is None:
            return False
        while self._aborted and self._aborted[-1][1] <= batch.base_offset:
            self._aborting.add(self._aborted.pop()[0])
        if batch.is_control_batch:
            if ControlRecord.parse(next(batch).key) == ABORT_MARKER:
                self._aborting.discard(batch.producer_id)
            return True
        return batch.is_transactional and batch.producer_id in self._aborting


def _intact(data: Any) -> Any | None:
    """Return the batch that `data` is, if it is as its producer made it."""
    try:
        batch: Any = MemoryRecords(data).next_batch()
        return batch if batch is not None and batch.validate_crc() else None
    except (errors.CorruptRecordException, struct.error, ValueError, IndexError):
        return None


def _undecodable() -> tuple[type[Exception], ...]:
    """What the library, its codecs and the standard library's raise at what they cannot unpack."""
    known = (errors.KafkaError, NotImplementedError, ValueError, IndexError, OSError, EOFError, struct.error, zlib.error)
    return known if codec.cramjam is None else (*known, codec.cramjam.DecompressionError)


def _advice(error: Exception) -> str:
    missing = isinstance(error, errors.UnsupportedCodecError | NotImplementedError)
    return _CODECS if missing and codec.cramjam is None else _BROKEN
