"""Which adapter serves which URL: one line for each scheme of each port.

A server's adapter is imported when a URL asks for it: its client library would else cost every start, also where all is
embedded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from attrs import frozen

from forebay.backends.ports import Clock, Coordination, Log, Queue
from forebay.backends.sqlite import Embedded
from forebay.config import StoreUrl


@frozen
class Means:
    """What adapters are made with. `embedded` opens the stores of the data folder, the same each time."""

    clock: Clock
    random: Random
    embedded: Callable[[], Embedded]


def _kafka(url: StoreUrl, means: Means) -> Log:
    from forebay.backends.kafka import KafkaLog  # noqa: PLC0415 - see above

    return KafkaLog(url.address, means.clock)


def _consul(url: StoreUrl, _: Means) -> Coordination:
    from forebay.backends.consul import ConsulCoordination  # noqa: PLC0415 - see above

    return ConsulCoordination(url.text)


def _redis(_: str, url: StoreUrl, means: Means) -> Queue:
    from forebay.backends.redis import RedisQueue  # noqa: PLC0415 - see above

    return RedisQueue(url.text, means.random)


LOGS: Final[Mapping[str, Callable[[StoreUrl, Means], Log]]] = {
    "sqlite": lambda _, means: means.embedded().log,
    "kafka": _kafka,
}
COORDINATIONS: Final[Mapping[str, Callable[[StoreUrl, Means], Coordination]]] = {
    "sqlite": lambda _, means: means.embedded().coordination,
    "consul": _consul,
}
QUEUES: Final[Mapping[str, Callable[[str, StoreUrl, Means], Queue]]] = {
    "sqlite": lambda name, _, means: means.embedded().queue(name),
    "redis": _redis,
    "rediss": _redis,
}
