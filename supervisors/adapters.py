"""Which adapter serves which URL: one line for each scheme of each port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from attrs import frozen

from forebay.backends.consul import ConsulCoordination
from forebay.backends.kafka import KafkaLog
from forebay.backends.ports import Clock, Coordination, Log, Queue
from forebay.backends.redis import RedisQueue
from forebay.backends.sqlite import Embedded
from forebay.config import StoreUrl


@frozen
class Means:
    """What adapters are made with. `embedded` opens the stores of the data folder, the same each time."""

    clock: Clock
    random: Random
    embedded: Callable[[], Embedded]


LOGS: Final[Mapping[str, Callable[[StoreUrl, Means], Log]]] = {
    "sqlite": lambda _url, means: means.embedded().log,
    "kafka": lambda url, means: KafkaLog(url.address, means.clock),
}
COORDINATIONS: Final[Mapping[str, Callable[[StoreUrl, Means], Coordination]]] = {
    "sqlite": lambda _url, means: means.embedded().coordination,
    "consul": lambda url, _means: ConsulCoordination(url.text),
}
QUEUES: Final[Mapping[str, Callable[[str, StoreUrl, Means], Queue]]] = {
    "sqlite": lambda name, _url, means: means.embedded().queue(name),
    "redis": lambda _name, url, means: RedisQueue(url.text, means.random),
    "rediss": lambda _name, url, means: RedisQueue(url.text, means.random),
}
