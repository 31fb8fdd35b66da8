"""What stood in a log where the relay went past: how a log is told from one that was cut and filled again.

See docs/semantics.md, "Terms and marks".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

from attrs import frozen


@frozen
class Checkpoint:
    """One record that was moved: its offset, a CRC-32 of its content, and its time in the log (Unix ms)."""

    offset: int
    checksum: int
    timestamp: int


Checkpoints = Mapping[int, Sequence[Checkpoint]]
"""Of each partition those in order of offset."""


def checksum(value: bytes, key: bytes | None, headers: Iterable[tuple[str, bytes]]) -> int:
    """Return the CRC-32 of a record's content, by which another record at the same place is told from it."""
    found = crc32(value, crc32(b"" if key is None else key))
    for name, content in headers:
        found = crc32(content, crc32(name.encode(), found))
    return found


def extended(checkpoints: Sequence[Checkpoint], newest: Checkpoint) -> tuple[Checkpoint, ...]:
    """Return the checkpoints, in order of offset, with a newer one, and without those that are not needed any more.

    One goes when its older neighbour is at most twice as far from the newest as its younger one. So wherever the log is cut,
    the first checkpoint below is at most twice as far back, plus one write; and there are at most about two for each power
    of two of distance. Those beyond the newest stay: they are of what a queue that forgot was told had ended there.
    """
    older = [one for one in checkpoints if one.offset < newest.offset]
    beyond = [one for one in checkpoints if one.offset > newest.offset]
    kept = [newest]
    while older:
        one = older.pop()
        if not older or newest.offset - older[-1].offset > 2 * (newest.offset - kept[-1].offset):
            kept.append(one)
    return (*reversed(kept), *beyond)
