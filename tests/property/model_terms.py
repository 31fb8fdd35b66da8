"""The terms of the supervisors' plain model: trees, exits, events. It imports nothing of forebay."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 0.5  # S4
GROUPS = ("one_for_all", "rest_for_one")

Exit = tuple[str, str]
NORMAL, SHUTDOWN, KILLED, ABANDONED = ("normal", ""), ("shutdown", ""), ("killed", ""), ("abandoned", "")
QUIT: Exit = ("quit", "")
"""On its way to NORMAL: the actor handles what makes it ask for its own end."""
Waiting = Generator[Callable[[], object], None, Any]


@dataclass(frozen=True)
class Life:
    """What one incarnation of an actor does, in seconds. It ignores `stubborn` cancellations in each phase."""

    start: float = 0.0
    start_fails: str | None = None
    runs: float | None = None
    ends: str = "bug"
    stop: float = 0.0
    stop_fails: bool = False
    stubborn: int = 0


@dataclass(frozen=True)
class Leaf:
    """An actor: the last life goes on for all later incarnations."""

    lives: tuple[Life, ...] = (Life(),)
    grace: float = 1.0
    start_limit: float | None = None

    def life(self, incarnation: int) -> Life:
        return self.lives[min(incarnation, len(self.lives)) - 1]


@dataclass(frozen=True)
class Sup:
    """A supervisor."""

    strategy: str
    children: tuple[Spec, ...]
    max_restarts: int = 3
    period: float = 5.0
    base: float = 0.1
    cap: float = 30.0
    stable_after: float = 10.0
    auto_shutdown: str = "never"
    park: bool = False
    cool_off: float | None = None
    max_children: int | None = None


@dataclass(frozen=True)
class Spec:
    """A child."""

    id: str
    body: Leaf | Sup
    restart: str = "permanent"
    significant: bool = False


@dataclass(frozen=True)
class Event:
    """What was predicted. `unordered`: within its instant it may come before or after its like."""

    at: float
    kind: str
    path: str
    incarnation: int
    detail: tuple[Any, ...] = ()
    unordered: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Place:
    """One line of the tree as it is shown."""

    state: str
    incarnation: int
    restarts: int
    failures: int


def join(path: str, child: str) -> str:
    return f"/{child}" if path == "/" else f"{path}/{child}"


def is_environment(exit_: Exit) -> bool:
    return exit_ == ("failed", "environment")


class Undetermined(Exception):
    """The rules leave open what happens: at the very instant at which a supervisor counts as started it acts on, and
    so does the supervisor above; nothing orders the two.
    """
