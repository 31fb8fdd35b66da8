"""One broker's copy of a partition: records in order of offset, and which leader's they are.

Two copies agree up to where the records of the newest epoch that both know end (KIP-101): a follower cuts off what lies
beyond before it takes anything from a new leader.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter

from forebay.backends.ports import Record

_OFFSET = attrgetter("offset")
_COMPACT_BEYOND = 64  # records, and as many again as were left last time


class Replica:
    """Offsets `start` up to but without `end`; `compact`: of records that have a key only the newest is sure to stay."""

    def __init__(self, *, compact: bool = False) -> None:
        self.start = 0
        self.end = 0
        self._records: list[Record] = []
        self._epochs: list[tuple[int, int]] = []  # epoch, its first offset
        self._compact = compact
        self._compact_at = _COMPACT_BEYOND

    def __len__(self) -> int:
        return len(self._records)

    def append(self, record: Record) -> None:
        """Take a record at `end` or, where the leader's log has a gap, beyond it."""
        if not self._epochs or self._epochs[-1][0] < record.epoch:
            self._epochs.append((record.epoch, record.offset))
        self._records.append(record)
        self.end = record.offset + 1

    def between(self, start: int, end: int, limit: int | None = None) -> Sequence[Record]:
        """The records of these offsets that are there, at most `limit`."""
        first, last = self._place(start), self._place(end)
        return self._records[first : last if limit is None else min(last, first + limit)]

    def follow(self, leader: Replica) -> list[Record]:
        """Become as the leader is; return the records that were cut off for that."""
        cut = self.truncate(self.agreed(leader))
        if self.end < leader.start:
            self._records.clear()
            self._epochs.clear()
            self.end = leader.start
        for record in leader.between(self.end, leader.end):
            self.append(record)
        self.end = leader.end
        self.forget(leader.start)
        return cut

    def agreed(self, leader: Replica) -> int:
        """The offset up to which both hold the same."""
        known = dict(leader.ends())
        for epoch, end in reversed(self.ends()):
            if epoch in known:
                return min(end, known[epoch])
        return min(self.start, leader.start)

    def ends(self) -> list[tuple[int, int]]:
        """Each epoch and where its records end."""
        starts = [start for _, start in self._epochs[1:]] + [self.end]
        return [(epoch, end) for (epoch, _), end in zip(self._epochs, starts, strict=False)]

    def truncate(self, to: int) -> list[Record]:
        """Cut off what lies at `to` and beyond, and return it."""
        if to >= self.end:
            return []
        first = self._place(to)
        cut = self._records[first:]
        del self._records[first:]
        self._epochs = [one for one in self._epochs if one[1] < to]
        self.end = to
        self.start = min(self.start, to)
        return cut

    def forget(self, before: int) -> None:
        """Remove what lies before an offset, which is at `end` at most."""
        if before > self.start:
            del self._records[: self._place(before)]
            self.start = before

    def expire(self, before: int, below: int) -> None:
        """Remove the records from the front that are older than `before` (Unix ms), up to the offset `below`."""
        if self._compact or not self._records or self._records[0].timestamp >= before:
            return
        kept = (one.offset for one in self._records if one.timestamp >= before or one.offset >= below)
        self.forget(min(next(kept, self.end), below))

    def compact(self, below: int) -> None:
        """Where that is worth it, remove records below an offset that have a younger one of their key there."""
        if not self._compact or len(self._records) < self._compact_at:
            return
        newest = {record.key: record.offset for record in self.between(self.start, below)}
        self._records = [one for one in self._records if one.offset >= below or newest[one.key] == one.offset]
        self._compact_at = len(self._records) + max(len(self._records), _COMPACT_BEYOND)

    def _place(self, offset: int) -> int:
        return bisect_left(self._records, offset, key=_OFFSET)
