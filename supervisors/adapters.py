"""Which adapter serves which URL: one line for each scheme of each port.

A server's adapter is imported when a URL asks for it: its client library would else cost every start, also where all is
embedded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Final

from attrs import frozen

from forebay.backends.ports import Clock, Coordination, Log, Queue
from forebay.backends.sqlite import Embedded
from forebay.backends.sqlite.embedded import FolderLock
from forebay.config import LockConfig, StoreUrl


@frozen
class Means:
    """What adapters are made with. `embedded` opens the stores of the data folder, the same each time; `lock` is what they
    are asked to keep.
    """

    clock: Clock
    random: Random
    embedded: Callable[[], Embedded]
    lock: LockConfig


def _kafka(url: StoreUrl, means: Means) -> Log:
    from forebay.backends.kafka import KafkaLog  # noqa: PLC0415 - see above

    return KafkaLog(url.address, means.clock)


def _consul(url: StoreUrl, means: Means) -> Coordination:
    from forebay.backends.consul import ConsulCoordination  # noqa: PLC0415 - see above

    return ConsulCoordination(url.text, admits=(means.lock.ttl, means.lock.lock_delay))


def _redis(_: str, url: StoreUrl, means: Means) -> Queue:
    from forebay.backends.redis import RedisQueue  # noqa: PLC0415 - see above

    return RedisQueue(url.text, means.random)


@frozen
class Adapters:
    """By scheme, what makes a store of each port. `occupy` takes a data folder without embedded stores for one process, and
    returns what lets it go; it raises `DataFolderInUse`.
    """

    logs: Mapping[str, Callable[[StoreUrl, Means], Log]]
    coordinations: Mapping[str, Callable[[StoreUrl, Means], Coordination]]
    queues: Mapping[str, Callable[[str, StoreUrl, Means], Queue]]
    occupy: Callable[[Path], Callable[[], None]]


ADAPTERS: Final = Adapters(
    logs={"sqlite": lambda _, means: means.embedded().log, "kafka": _kafka},
    coordinations={"sqlite": lambda _, means: means.embedded().coordination, "consul": _consul},
    queues={"sqlite": lambda name, _, means: means.embedded().queue(name), "redis": _redis, "rediss": _redis},
    occupy=lambda folder: FolderLock(folder).release,
)
