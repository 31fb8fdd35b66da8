"""The newest of a topic's ends other than done, from the log: also of what the queue has forgotten since (row R14)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from forebay.backends.end_records import WrittenEnd, read_end
from forebay.backends.ports import Extent, Log, LogConnection, OutOfRange, Record, Want
from forebay.jobs.lanes import ends_topic

MAX_BYTES: Final = 16 * 2**20
"""Bytes of one answer: older ends that would take it over that are left out."""

_FETCH_WAIT: Final = 1.0  # seconds


async def newest_ends(log: Log, topic: str, limit: int) -> Sequence[WrittenEnd]:
    """Return at most `limit` ends of the topic, the newest first.

    Each partition is read from `limit` records before its end. Raises `BackendError`.
    """
    connection = await log.connect(ends_topic(topic))
    kept: Sequence[WrittenEnd] = ()
    try:
        for partition, extent in (await connection.extents()).items():
            async for records in _tail(connection, partition, extent, limit):
                found = [end for record in records if (end := read_end(record)) is not None]
                kept = _newest([*kept, *found], limit)
    finally:
        await connection.close()
    return kept


async def _tail(connection: LogConnection, partition: int, extent: Extent, limit: int) -> AsyncIterator[Sequence[Record]]:
    """The partition's last records as they come, up to what its end was."""
    place = max(extent.start, extent.end - limit)
    while place < extent.end:
        found = (await connection.fetch({partition: Want(place, limit)}, _FETCH_WAIT)).get(partition, ())
        if isinstance(found, OutOfRange):  # retention was there first
            if found.extent.start <= place:
                return
            place = found.extent.start
        elif found:
            yield found
            place = found[-1].offset + 1


def _newest(ends: Sequence[WrittenEnd], limit: int) -> Sequence[WrittenEnd]:
    kept: list[WrittenEnd] = []
    size = 0
    for end in sorted(ends, key=lambda end: (-end.at, end.id)):
        size += len(end.value)
        if len(kept) == limit or (kept and size > MAX_BYTES):
            break
        kept.append(end)
    return kept
