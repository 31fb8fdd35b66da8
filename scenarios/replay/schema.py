"""What a scenario file says, as checked, immutable values; docs/scenarios.md describes each key.

Durations are seconds, sizes bytes, shares numbers from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any, Final

from attrs import field, frozen

from forebay.config import Config
from forebay.config.kinds import Kind, ListOf, MapOf, Section, choice, duration, integer, setting, size, text
from forebay.scenarios.replay.amounts import Amount, Fixed, drawn, share

FORMAT: Final = "forebay-scenario/1"
FOREBAY: Final = "forebay"
LISTS: Final = "lists"
"""The design that a queue in Redis had before; see `scenarios.old_design`."""
HOUR: Final = 3600.0

_DAY: Final = 24 * HOUR
_NAME = text(r"[a-z0-9][a-z0-9-]{0,79}", "write a name of a-z, 0-9 and -")
_HOST = text(r"[a-z][a-z0-9-]{0,31}", "write a host's name of a-z, 0-9 and -")
_WORD = text(r"[^\s,|]{1,240}", "write one word")
_LINE = text(r"[\s\S]{1,2000}", "write a text")
_TIME = drawn(duration(0, _DAY), choices=False)
_SHARE = drawn(share())


def required(kind: Kind) -> Any:
    """A field that the file must give."""
    return field(metadata={"kind": kind})


def optional(kind: Kind) -> Any:
    """A field that is None if the file says nothing."""
    return field(default=None, metadata={"kind": kind})


@frozen
class Post:
    """Jobs that are posted: `count` of them, the first at `at`, the last at most `over` later, at drawn instants.

    `takes` is how long its handler runs, `size` the length of its payload, and `fails` the share of its runs that raise an
    error: where these are a range or a choice, each job has its own. `poison` is the share of jobs whose every run raises
    one; `again` the share of jobs that are posted twice, as by a client that got no answer. `host` is who takes the posts;
    none named, each job goes to one of those that run.
    """

    count: int = required(integer(1, 1_000_000))
    at: float = setting(duration(0, _DAY), default=0.0)
    over: float = setting(duration(0, _DAY), default=10.0)
    topic: str | None = optional(_WORD)
    host: str | None = optional(_HOST)
    acks: str = setting(choice(["leader", "all"]), default="leader")
    takes: Amount[float] = setting(drawn(duration(0, HOUR)), default=Fixed(0.01))
    fails: Amount[float] = setting(drawn(share()), default=Fixed(0.0))
    poison: float = setting(share(), default=0.0)
    again: float = setting(share(), default=0.0)
    size: Amount[int] = setting(drawn(size(0, 2**20)), default=Fixed(64))


@frozen
class When:
    """An event that a fault waits for: its kind (`Noted`, `Started` ...), for a note its name, whose (`path`, with `*`), on
    which host; the `nth` such one.
    """

    event: str = required(_WORD)
    name: str | None = optional(_WORD)
    path: str = setting(_WORD, default="*")
    host: str | None = optional(_HOST)
    nth: int = setting(integer(1, 1_000_000), default=1)


@frozen
class Fault:
    """Something that is done to the system: `do` says what (see `verbs.VERBS`), with that verb's own arguments in `args`.

    It happens at `at`, or `after` the event `when`; `lasts` later it is undone. `chance` is how probable it is at all,
    `times` how often it happens, each time at an instant of its own.
    """

    id: str = required(_NAME)
    do: str = required(_WORD)
    at: Amount[float] | None = optional(_TIME)
    when: When | None = optional(Section(When))
    after: Amount[float] = setting(_TIME, default=Fixed(0.0))
    lasts: Amount[float] | None = optional(_TIME)
    chance: Amount[float] = setting(_SHARE, default=Fixed(1.0))
    times: Amount[int] = setting(drawn(integer(0, 1000)), default=Fixed(1))
    args: Mapping[str, Amount[Any]] = field(factory=dict)


@frozen
class Phases:
    """`chaos`: workload and faults; then everything is healed; `converge`: how long the system then has to recover."""

    chaos: float = setting(duration(0.1, _DAY), default=60.0)
    converge: float = setting(duration(0.1, _DAY), default=120.0)


@frozen
class Invariants:
    """Names of `invariants.CHECKS` that hold `always`, and `eventually` after the healing; names of `sightings.SIGHTINGS`
    that are seen `never`, and `sometimes`: at least once.
    """

    always: tuple[str, ...] = setting(ListOf(_WORD), default=())
    eventually: tuple[str, ...] = setting(ListOf(_WORD), default=())
    never: tuple[str, ...] = setting(ListOf(_WORD), default=())
    sometimes: tuple[str, ...] = setting(ListOf(_WORD), default=())


@frozen
class Bound:
    """A number from `least` to `most`, both allowed."""

    least: int = setting(integer(0, 10**9), default=0)
    most: int = setting(integer(0, 10**9), default=10**9)

    def __attrs_post_init__(self) -> None:
        if self.least > self.most:
            raise ValueError("let least be no more than most")


@frozen
class Expect:
    """What the counts must come to, by name (`counts.COUNTS`), and how long recovery may take after the healing."""

    counts: Mapping[str, Bound] = field(factory=dict, metadata={"kind": MapOf(_WORD, Section(Bound))})
    recovery: float | None = optional(duration(0, _DAY))


@frozen
class Cluster:
    """Kafka: how many `brokers`, from 1, over how many `zones`, from a; brokers take turns."""

    brokers: int = setting(integer(1, 99), default=3)
    zones: int = setting(integer(1, 26), default=3)

    @property
    def zone_names(self) -> tuple[str, ...]:
        """a, b ..."""
        return tuple(ascii_lowercase[: self.zones])

    def zone_of(self, broker: int) -> str:
        """The zone of a broker."""
        return self.zone_names[(broker - 1) % self.zones]


@frozen
class Scenario:
    """A whole scenario. `topology` is the production configuration that every one of `hosts` runs; `design` says what runs
    there: `forebay`, or in its place the queue of `lists` in Redis that locks up when its memory is full.
    """

    format: str = required(choice([FORMAT]))
    name: str = required(_NAME)
    about: str = required(_LINE)
    workload: tuple[Post, ...] = required(ListOf(Section(Post), least=1))
    topology: Config = field(factory=Config, metadata={"kind": Section(Config)})
    design: str = setting(choice([FOREBAY, LISTS]), default=FOREBAY)
    hosts: tuple[str, ...] = setting(ListOf(_HOST, least=1), default=("a", "b"))
    kafka: Cluster = field(factory=Cluster, metadata={"kind": Section(Cluster)})
    faults: tuple[Fault, ...] = field(default=(), metadata={"kind": ListOf(Section(Fault))})
    phases: Phases = field(factory=Phases, metadata={"kind": Section(Phases)})
    invariants: Invariants = field(factory=Invariants, metadata={"kind": Section(Invariants)})
    expect: Expect = field(factory=Expect, metadata={"kind": Section(Expect)})
