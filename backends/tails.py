"""The last records of partitions, as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from forebay.backends.errors import Unavailable
from forebay.backends.ports import Extent, LogConnection, OutOfRange, Record, Want

_FETCH_WAIT: Final = 1.0  # seconds


async def tails(
    connection: LogConnection, extents: Mapping[int, Extent], limit: int
) -> AsyncIterator[tuple[int, Sequence[Record]]]:
    """Yield, by partition and in order of offset, what lies at the last `limit` offsets of each of `extents`.

    It is read up to where the partitions ended when their extents were asked for; with the last of that may come what is
    newer. Where retention or a cut of the log was quicker, it is the last of what is left there. Raises what fetching does,
    and `Unavailable` when all that is left is held up.
    """
    left = dict(extents)
    places = {partition: _begin(extent, limit) for partition, extent in left.items()}
    while places := {partition: place for partition, place in places.items() if place < left[partition].end}:
        wants = {partition: Want(place, limit) for partition, place in places.items()}
        answers = await connection.fetch(wants, _FETCH_WAIT)
        if not answers and (why := next((why for partition, why in connection.held_up.items() if partition in wants), "")):
            raise Unavailable(why)
        for partition, found in answers.items():
            if isinstance(found, OutOfRange):
                left[partition] = Extent(found.extent.start, min(found.extent.end, left[partition].end))
                again = _begin(left[partition], limit)
                places[partition] = again if again != places[partition] else left[partition].end
            elif found:
                yield partition, found
                places[partition] = found[-1].offset + 1


def _begin(extent: Extent, limit: int) -> int:
    return max(extent.start, extent.end - limit)
