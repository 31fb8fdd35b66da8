"""Every option that YAML can set: its type, its default, what it means.

Durations are seconds, sizes bytes, rates events per second. All values are immutable and checked by
the constructors. `repr()` and `Config.describe()` never show what came from the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import attrs
import yaml
from attrs import field, frozen

from forebay.jobs.lanes import MAX_PARTITIONS

from .kinds import (
    Kind,
    ListOf,
    MapOf,
    Scalar,
    choice,
    duration,
    integer,
    kind_of,
    options,
    rate,
    setting,
    size,
    text,
)
from .kinds import Section as SectionKind
from .plain import plain_of
from .problems import MASK
from .urls import COORDINATION, LOG, QUEUE, StoreUrl, store_url
from .values import Backoff, Intensity

_NAME = text(
    r"(?!\.{1,2}\Z)(?!.*\.(?:retry|settled|ends)\Z)[a-zA-Z0-9._-]{1,240}",
    "write 1 to 240 of the characters a-z A-Z 0-9 . _ - (but not . or .., nor .retry, .settled or .ends at the end: topics"
    " of those names are made beside this one)",
)
_QUEUE_NAME = text(r"[a-zA-Z0-9_-]{1,64}", "write 1 to 64 of the characters a-z A-Z 0-9 _ -")
_HOST = text(r"[^\s/@]{1,253}", "write a host name or an IP address")
_ZONE = text(r"[a-zA-Z0-9._-]{1,64}", "write 1 to 64 of the characters a-z A-Z 0-9 . _ -")
_MODULE = text(r"(?!.*\.py\Z)[^\W\d]\w*(?:\.[^\W\d]\w*)*", "write a module's dotted name, like myapp.jobs, without .py")
_PORT = integer(0, 65_535)
_DAY = 86_400.0
_SQLITE = StoreUrl("sqlite:")


def _path() -> Scalar[Path]:
    def read(value: object) -> Path:
        if isinstance(value, Path):
            return value
        if isinstance(value, str) and value.strip() and "\0" not in value:
            return Path(value)
        raise ValueError("write the path of a folder")

    return Scalar(read, str)


@frozen(repr=False)
class Section:
    """A part of the configuration. `masked` names the fields whose values are not to be shown."""

    masked: frozenset[str] = field(default=frozenset(), kw_only=True, eq=False)

    def __repr__(self) -> str:
        shown = (f"{name}={MASK if name in self.masked else repr(getattr(self, name))}" for name in options(type(self)))
        return f"{type(self).__name__}({', '.join(shown)})"


def _of(kind: Kind) -> dict[str, Kind]:
    return {"kind": kind}


def _off(cls: type[Section]) -> dict[str, Kind]:
    return _of(SectionKind(cls, may_be_off=True))


def _checked(_section: Section, attribute: attrs.Attribute[Any], value: object) -> None:
    """The validator of scalars whose default is not a plain number or text."""
    kind = kind_of(attribute)
    assert isinstance(kind, Scalar)
    kind.read(value)


@frozen(repr=False)
class LogConfig(Section):
    """Where jobs are written first."""

    url: StoreUrl = field(default=_SQLITE, validator=_checked, metadata=_of(store_url(LOG)))


@frozen(repr=False)
class CoordinationConfig(Section):
    """Where locks and live limits are kept."""

    url: StoreUrl = field(default=_SQLITE, validator=_checked, metadata=_of(store_url(COORDINATION)))


@frozen(repr=False)
class QueueConfig(Section):
    """Where jobs wait for workers."""

    url: StoreUrl = field(default=_SQLITE, validator=_checked, metadata=_of(store_url(QUEUE)))


@frozen(repr=False)
class TopicConfig(Section):
    """A topic of the log and how it is relayed.

    `rate` is the most that the relay moves, in jobs/s; `retention` how long the log keeps a record
    that was relayed; `max_record` the longest record. `replication` is how many copies a new topic
    gets, or as many as there are brokers, and `min_insync` how many must have a record before
    `acks: all` is answered; an embedded log has one disk and passes these two over.
    """

    name: str = field(validator=_checked, metadata=_of(_NAME))
    partitions: int = setting(integer(1, MAX_PARTITIONS), default=8)
    queue: str = setting(_QUEUE_NAME, default="main")
    acks: Literal["leader", "all"] = setting(choice(["leader", "all"]), default="leader")
    rate: float = setting(rate(1 / 3600, 10_000_000), default=5000.0)
    retention: float = setting(duration(60, 3660 * _DAY), default=48 * 3600.0)
    max_record: int = setting(size(1024, 2**30), default=8 * 2**20)
    replication: int = setting(integer(1, 100), default=3)
    min_insync: int = setting(integer(1, 100), default=2)


@frozen(repr=False)
class GateConfig(Section):
    """The HTTP door for jobs. `port` 0 is any free one; `zone` is where this gate stands.

    Over `max_connections`, and `batch_limit` jobs in one batch, it refuses: memory stays bounded.
    """

    host: str = setting(_HOST, default="127.0.0.1")
    port: int = setting(_PORT, default=8080)
    zone: str = setting(_ZONE, default="a")
    max_body: int = setting(size(1024, 2**30), default=4 * 2**20)
    request_timeout: float = setting(duration(0.01, _DAY), default=10.0)
    body_timeout: float = setting(duration(0.01, _DAY), default=10.0)
    header_timeout: float = setting(duration(0.01, _DAY), default=10.0)
    max_connections: int = setting(integer(1, 1_000_000), default=1000)
    batch_limit: int = setting(integer(1, 100_000), default=1000)


@frozen(repr=False)
class WorkersConfig(Section):
    """What runs the jobs: `slots` at once, with the handlers that the modules `handlers` register.

    `lease` is how long a job is held without a renewal, `drain` how long a stop lets handlers end.
    """

    slots: int = setting(integer(1, 100_000), default=50)
    handlers: tuple[str, ...] = setting(ListOf(_MODULE), default=())
    lease: float = setting(duration(0.1, _DAY), default=30.0)
    drain: float = setting(duration(0, _DAY), default=10.0)


@frozen(repr=False)
class ConsoleConfig(Section):
    """The HTTP door for people; the Unix socket in the data folder is there in any case."""

    host: str = setting(_HOST, default="127.0.0.1")
    port: int = setting(_PORT, default=8081)


@frozen(repr=False)
class LockConfig(Section):
    """The lock of a topic: how long a silent holder keeps it, how long the next one then waits."""

    ttl: float = setting(duration(0.1, _DAY), default=10.0)
    lock_delay: float = setting(duration(0, 60), default=5.0)


@frozen(repr=False)
class ShutdownConfig(Section):
    """The time from a stop request until what still runs is abandoned and reported."""

    deadline: float = setting(duration(0.1, _DAY), default=30.0)


@frozen(repr=False)
class SupervisionConfig(Section):
    """Restarts: budget, backoff, and how long a child must run until its failures are forgotten."""

    intensity: Intensity = field(factory=Intensity, metadata=_of(SectionKind(Intensity)))
    backoff: Backoff = field(factory=Backoff, metadata=_of(SectionKind(Backoff)))
    stable_after: float = setting(duration(0.001), default=10.0)


def _default_queues() -> Mapping[str, QueueConfig]:
    return {"main": QueueConfig()}


def _read_only(queues: Mapping[str, QueueConfig]) -> Mapping[str, QueueConfig]:
    return MappingProxyType(dict(queues))


def _default_topics() -> tuple[TopicConfig, ...]:
    return (TopicConfig(name="jobs"),)


@frozen(repr=False)
class Config(Section):
    """A whole configuration. `gate`, `workers` and `console` are None where they are off."""

    data: Path = field(default=Path("data"), validator=_checked, metadata=_of(_path()))
    log: LogConfig = field(factory=LogConfig, metadata=_of(SectionKind(LogConfig)))
    coordination: CoordinationConfig = field(factory=CoordinationConfig, metadata=_of(SectionKind(CoordinationConfig)))
    queues: Mapping[str, QueueConfig] = field(
        factory=_default_queues,
        converter=_read_only,
        metadata=_of(MapOf(_QUEUE_NAME, SectionKind(QueueConfig))),
    )
    topics: tuple[TopicConfig, ...] = field(
        factory=_default_topics,
        converter=tuple,
        metadata=_of(ListOf(SectionKind(TopicConfig), least=1)),
    )
    gate: GateConfig | None = field(factory=GateConfig, metadata=_off(GateConfig))
    workers: WorkersConfig | None = field(factory=WorkersConfig, metadata=_off(WorkersConfig))
    console: ConsoleConfig | None = field(factory=ConsoleConfig, metadata=_off(ConsoleConfig))
    lock: LockConfig = field(factory=LockConfig, metadata=_of(SectionKind(LockConfig)))
    shutdown: ShutdownConfig = field(factory=ShutdownConfig, metadata=_of(SectionKind(ShutdownConfig)))
    supervision: SupervisionConfig = field(factory=SupervisionConfig, metadata=_of(SectionKind(SupervisionConfig)))

    def topic(self, name: str) -> TopicConfig | None:
        """The topic of that name, None if there is none."""
        return next((topic for topic in self.topics if topic.name == name), None)

    def describe(self) -> str:
        """The configuration in force as YAML, defaults included, secrets masked."""
        plain = plain_of(SectionKind(Config), self)
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
