"""The tree as it was at one instant. Built from bookkeeping: no actor is asked, so a busy one cannot delay it."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import cattrs
from attrs import field, frozen


class State(enum.Enum):
    """Where a child stands."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    WAITING = "waiting"  # for its next restart
    PARKED = "parked"
    STOPPED = "stopped"


@frozen
class MailboxView:
    """`high_water` is sampled when the actor reads. `handled` counts messages of all incarnations."""

    depth: int
    capacity: int
    high_water: int
    handled: int
    dropped: int
    dead_letters: int


@frozen
class Node:
    """One place of the tree. Times are seconds; `next_restart` is how long until it, None if none is planned.

    `restarts` counts all that ever happened here, `failures` those in a row. `shown` is what the actor has to say of itself.
    """

    path: str
    kind: str
    state: State
    incarnation: int
    restarts: int = 0
    failures: int = 0
    next_restart: float | None = None
    last_exit: str | None = None
    mailbox: MailboxView | None = None
    tasks: tuple[str, ...] = ()
    strategy: str | None = None
    shown: str | None = None
    children: tuple[Node, ...] = field(default=())

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1] or "/"

    def walk(self) -> Iterator[Node]:
        """Yield this node and everything below it, in start order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, path: str) -> Node | None:
        """Return the node at `path`, or None."""
        return next((node for node in self.walk() if node.path == path), None)


def to_plain(node: Node) -> Any:
    """The node and everything below it as dictionaries, lists and texts, to be written as JSON."""
    return cattrs.unstructure(node)


def from_plain(plain: Any) -> Node:
    """What `to_plain` was given."""
    return cattrs.structure(plain, Node)
