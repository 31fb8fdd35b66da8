"""Whether a log still is the one that was read, by the checkpoints of its mark (docs/semantics.md, "Terms and marks").

After an unclean election a log can be cut below a mark, and filled again beyond it: reading on from the mark would skip what
stands below it now.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from forebay.backends.checkpoints import Checkpoint, checksum
from forebay.backends.ports import Extent, Record


def checkpoint_of(record: Record) -> Checkpoint:
    """Return what `record` is known by."""
    return Checkpoint(record.offset, checksum(record.value, record.key, record.headers), record.timestamp)


def last_of(records: Sequence[Record], start: int, to: int) -> Checkpoint | None:
    """Return the checkpoint of the last record from `start` up to but without `to`; None if there is none, or if it cannot
    be read: another host, or this one later, may read it.
    """
    index = bisect_left(records, to, key=lambda record: record.offset)
    if not index or records[index - 1].offset < start or records[index - 1].unreadable:
        return None
    return checkpoint_of(records[index - 1])


class LogCheck:
    """Compares checkpoints with the log, the newest first, until one of them is found as it was.

    Tell it what stands at `offset`, by `saw` or `missed`. Each returns where the relay has to go on: at the mark, or further
    back where the log has become another; or None while there is an older place to look at, the new `offset`. Only what
    contradicts a checkpoint counts; a place whose record has gone, or cannot be read, says nothing. `extent` is given where
    the log was seen to end below the mark, which contradicts the mark. At least one checkpoint must lie below the mark and
    that end.
    """

    def __init__(self, mark: int, checkpoints: Sequence[Checkpoint], extent: Extent | None) -> None:
        end = mark if extent is None else min(mark, extent.end)
        self.mark = mark
        self._left = [one for one in checkpoints if one.offset < end]
        self._other = extent is not None

    @property
    def offset(self) -> int:
        """Where to look."""
        return self._left[-1].offset

    def saw(self, record: Record) -> int | None:
        """`record` is the first one from `offset` on."""
        expected = self._left.pop()
        if record.offset == expected.offset and not record.unreadable:
            if checkpoint_of(record) == expected:
                return expected.offset + 1 if self._other else self.mark
            self._other = True
        return self._or_end(0)

    def missed(self, extent: Extent) -> int | None:
        """There is no `offset` in the log, which reaches over `extent`."""
        expected = self._left.pop()
        if extent.start > expected.offset:
            self._left.clear()  # the older ones have gone as well
        else:
            self._other = True
            self._left = [one for one in self._left if one.offset < extent.end]  # at the end itself nobody would answer
        return self._or_end(extent.start)

    def _or_end(self, start: int) -> int | None:
        """With no checkpoint left, nothing that was read is there any more, or nothing can be said."""
        if self._left:
            return None
        return min(start, self.mark) if self._other else self.mark
