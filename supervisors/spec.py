"""Specifications: what a supervisor starts, how it restarts, and what makes no sense together.

The rules are those of Erlang's supervisor.erl (OTP 28), with its names. Added here: backoff between restarts, `park`, and
exits that the environment causes, which never use up a budget.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import field, frozen

from forebay.actors.actor import Actor
from forebay.actors.exits import ActorError
from forebay.actors.mailbox import MailboxSpec
from forebay.actors.process import Limits
from forebay.config.values import Backoff, Intensity


class Restart(enum.Enum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Unless it ended `Normal` or `Shutdown`."""
    TEMPORARY = "temporary"
    """Never; its spec goes with it, even when a sibling's end took it down."""


class Strategy(enum.Enum):
    """Which siblings share a child's fate."""

    ONE_FOR_ONE = "one_for_one"
    """None."""
    ONE_FOR_ALL = "one_for_all"
    """All."""
    REST_FOR_ONE = "rest_for_one"
    """Those started after it."""
    DYNAMIC = "dynamic"
    """None; children come and go at run time, end at the same time, and a child that will not restart is forgotten."""

    @property
    def group(self) -> bool:
        """Whether one child's end can take siblings down."""
        return self in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)


class AutoShutdown(enum.Enum):
    """Whether a supervisor ends, in order and with `Shutdown`, when significant children have ended by themselves."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class Exhausted(enum.Enum):
    """What a supervisor does when a restart budget is used up."""

    ESCALATE = "escalate"
    """Stop all children and fail, so that the supervisor above decides. The budget is the supervisor's."""
    PARK = "park"
    """Leave that child down, visible, for a person or until it has cooled off. Each child has the budget to itself."""


@frozen
class ChildSpec:
    """One child: an actor, by a factory that makes a fresh one for each incarnation, or a supervisor, by its spec."""

    id: str
    start: Callable[[], Actor[Any]] | SupervisorSpec
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    limits: Limits = Limits()
    mailbox: MailboxSpec = MailboxSpec()

    @property
    def stop_time(self) -> float:
        """The longest that an orderly stop of this child can take: its grace, or the sum of those below (seconds)."""
        if isinstance(self.start, SupervisorSpec):
            return self.start.stop_time
        return self.limits.shutdown


def _in_order(children: Iterable[ChildSpec]) -> tuple[ChildSpec, ...]:
    return tuple(children)


@frozen
class SupervisorSpec:
    """A supervisor and its children, in start order.

    A child's failures in a row choose its backoff delay; they are forgotten once an incarnation has run for
    `stable_after` seconds. The first restart after that is immediate. `cool_off` (seconds) starts a parked child again.
    `later` are children that will be added while it runs: the checks at build time count them, nobody starts them here.
    """

    strategy: Strategy = Strategy.ONE_FOR_ONE
    children: tuple[ChildSpec, ...] = field(default=(), converter=_in_order)
    intensity: Intensity = Intensity()
    backoff: Backoff = Backoff()
    stable_after: float = 10.0
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    exhausted: Exhausted = Exhausted.ESCALATE
    cool_off: float | None = None
    max_children: int | None = None
    later: tuple[ChildSpec, ...] = field(default=(), converter=_in_order)

    @property
    def planned(self) -> tuple[ChildSpec, ...]:
        """All that will have to be stopped, as far as it is known: the children and those added later."""
        return (*self.children, *self.later)

    @property
    def stop_time(self) -> float:
        """The longest that an orderly stop can take (seconds): one after the other, or all at once if dynamic."""
        times = [child.stop_time for child in self.planned]
        return max(times, default=0.0) if self.strategy is Strategy.DYNAMIC else sum(times)


class InvalidTree(ActorError):
    """A specification contradicts itself. `problems` names each, with its path."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def check_tree(spec: SupervisorSpec, path: str = "/", deadline: float | None = None) -> None:
    """Raise `InvalidTree` with everything that is wrong below `path`, before anything is started.

    With `deadline` (seconds), also that the whole tree can stop in order within it.
    """
    problems = list(_problems(spec, path))
    if deadline is not None and spec.stop_time > deadline:
        slow = max(spec.planned, key=lambda child: child.stop_time)
        problems.append(
            f"{path}: an orderly stop may take {spec.stop_time:g} s and the deadline is {deadline:g} s;"
            f" most of it is {slow.id} with {slow.stop_time:g} s: shorten its shutdown or lengthen the deadline"
        )
    if problems:
        raise InvalidTree(tuple(problems))


def check_child(parent: SupervisorSpec, child: ChildSpec, path: str) -> None:
    """Raise `InvalidTree` if `child` cannot stand under `parent`."""
    problems = list(_child_problems(parent, child, path))
    if problems:
        raise InvalidTree(tuple(problems))


def join(path: str, child_id: str) -> str:
    """Return the path of a child."""
    return f"/{child_id}" if path == "/" else f"{path}/{child_id}"


def _problems(spec: SupervisorSpec, path: str) -> Iterator[str]:
    counts = Counter(child.id for child in spec.planned)
    for twice in sorted(child_id for child_id, count in counts.items() if count > 1):
        yield f"{path}: two children have the id {twice!r}; ids are unique under one supervisor"
    if spec.exhausted is Exhausted.PARK and spec.strategy.group:
        yield f"{path}: 'park' would leave half of a {spec.strategy.value} group running; use it with one_for_one or dynamic"
    if spec.cool_off is not None and spec.exhausted is not Exhausted.PARK:
        yield f"{path}: cool_off is for parked children only; set exhausted to 'park' or leave it out"
    if spec.max_children is not None and spec.strategy is not Strategy.DYNAMIC:
        yield f"{path}: max_children bounds a dynamic supervisor only"
    if _slowest_exhaustion(spec) > spec.intensity.period:
        yield (
            f"{path}: backoff is so slow that {spec.intensity.max_restarts} restarts can never fall into"
            f" {spec.intensity.period:g} s, so nothing would ever escalate: lengthen the period or lower max_restarts"
        )
    for child in spec.planned:
        yield from _child_problems(spec, child, join(path, child.id))


def _child_problems(parent: SupervisorSpec, child: ChildSpec, path: str) -> Iterator[str]:
    if not child.id or "/" in child.id:
        yield f"{path}: an id is not empty and has no '/'"
    if child.significant and child.restart is Restart.PERMANENT:
        yield f"{path}: a permanent child is always restarted, so it cannot be significant; make it transient or temporary"
    if child.significant and parent.auto_shutdown is AutoShutdown.NEVER:
        yield f"{path}: a significant child needs auto_shutdown any_significant or all_significant on its supervisor"
    if isinstance(child.start, SupervisorSpec):
        yield from _problems(child.start, path)


def _slowest_exhaustion(spec: SupervisorSpec) -> float:
    """Return the longest time that one child failing at once, again and again, can take to use the budget up.

    The first restart is immediate, the budget breaks at incident `max_restarts` + 1.
    """
    waits = (spec.backoff.base * 2.0**n for n in range(min(spec.intensity.max_restarts - 1, 64)))
    return sum(min(spec.backoff.cap, wait) for wait in waits)
