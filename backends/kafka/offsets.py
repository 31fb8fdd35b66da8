"""What partitions hold: their first and last offsets, asked of their leaders."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from aiokafka import errors
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy

from forebay.backends.errors import Unavailable
from forebay.backends.kafka.cluster import Cluster
from forebay.backends.kafka.faults import translate
from forebay.backends.ports import Extent

_BACKOFF: Final = 0.1  # seconds


async def extents_of(cluster: Cluster, topic: str, partitions: Iterable[int]) -> Mapping[int, Extent]:
    """Return the extents of the partitions. Raises `Unavailable` if a leader does not answer within the timeout."""
    wanted = tuple(partitions)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + cluster.timeout
    while True:
        try:
            starts = await _offsets(cluster, topic, wanted, OffsetResetStrategy.EARLIEST)
            ends = await _offsets(cluster, topic, wanted, OffsetResetStrategy.LATEST)
        except errors.KafkaError as error:
            failure = translate(error, f"asking for the extent of topic {topic!r}")
            if not isinstance(failure, Unavailable) or loop.time() > deadline:
                raise failure from error
        else:
            return {partition: Extent(starts[partition], ends[partition]) for partition in wanted}
        await asyncio.sleep(_BACKOFF)
        await cluster.refresh()


async def _offsets(cluster: Cluster, topic: str, partitions: Iterable[int], which: int) -> Mapping[int, int]:
    """Ask all leaders at once."""
    groups = cluster.by_leader(topic, partitions)
    if None in groups:
        raise errors.LeaderNotAvailableError(f"{topic}/{groups[None][0]}")
    requests = []
    for node, group in groups.items():
        assert node is not None
        request = OffsetRequest(-1, 0, [(topic, [(partition, which) for partition in group])])
        requests.append(cluster.send(node, request))
    found: dict[int, int] = {}
    for response in await asyncio.gather(*requests):
        for _, answers in response.topics:
            for partition, code, _, offset, *_ in answers:
                if code:
                    raise errors.for_code(code)(f"{topic}/{partition}")
                found[partition] = offset
    return found
