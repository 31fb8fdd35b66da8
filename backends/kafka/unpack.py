"""Records out of what a broker sent: record batches as they lie in the log, the last one maybe cut short.

Kafka's read_committed: records of aborted transactions and the marks that end transactions are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any, Final

from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from forebay.backends.errors import Unavailable
from forebay.backends.ports import Record

_HEAD: Final = Struct(">qiib")  # first offset, bytes that follow those two, epoch of the leader, magic
_LENGTH_ENDS: Final = 12


class Answer:
    """What one fetch brought of one partition. Iterate it once: the records from `begin` on, in order.

    `next` is the first offset that has not been passed yet; it also moves over offsets without a record. Raises
    `Unavailable` for a batch that is not as its producer made it.
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
            for found in () if self._hidden(batch) else batch:
                offset = found.offset
                if offset >= self.next:  # a batch comes whole, also when it begins before what was asked for
                    self.next = offset + 1
                    headers = tuple([(name, value or b"") for name, value in found.headers])
                    yield Record(topic, partition, offset, found.timestamp, found.value or b"", found.key, headers, epoch)
            self.next = max(self.next, batch.next_offset)

    def _batches(self) -> Iterator[tuple[Any, int]]:
        """Yield each whole batch with the epoch of the leader that took it; old formats do not say it."""
        data, begin = self._data, 0
        while begin + _HEAD.size <= len(data):
            _, length, epoch, magic = _HEAD.unpack_from(data, begin)
            end = begin + _LENGTH_ENDS + length
            if end > len(data):
                return
            batch: Any = MemoryRecords(data[begin:end]).next_batch()
            if not batch.validate_crc():
                raise Unavailable(f"{self._topic}/{self._partition}: a batch from offset {self.next} on fails its checksum")
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
