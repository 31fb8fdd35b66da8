"""The newest of a topic's ends other than done, from the log: also of what the queue has forgotten since (row R14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from forebay.backends.end_records import WrittenEnd, read_end
from forebay.backends.ports import Log
from forebay.backends.tails import tails
from forebay.jobs.lanes import ends_topic

MAX_BYTES: Final = 16 * 2**20
"""Bytes of one answer: older ends that would take it over that are left out."""


async def newest_ends(log: Log, topic: str, limit: int) -> Sequence[WrittenEnd]:
    """Return at most `limit` ends of the topic, the newest first.

    Each partition is read from `limit` records before its end. Raises `BackendError`.
    """
    connection = await log.connect(ends_topic(topic))
    kept: Sequence[WrittenEnd] = ()
    try:
        for partition, extent in (await connection.extents()).items():
            async for _, records in tails(connection, {partition: extent}, limit):
                found = [end for record in records if (end := read_end(record)) is not None]
                kept = _newest([*kept, *found], limit)
    finally:
        await connection.close()
    return kept


def _newest(ends: Sequence[WrittenEnd], limit: int) -> Sequence[WrittenEnd]:
    kept: list[WrittenEnd] = []
    size = 0
    for end in sorted(ends, key=lambda end: (-end.at, end.id)):
        size += len(end.value)
        if len(kept) == limit or (kept and size > MAX_BYTES):
            break
        kept.append(end)
    return kept
