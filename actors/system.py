"""What the actors of one runtime share: clock, random streams, events and the table of paths."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final

from forebay.actors.cell import Cell
from forebay.actors.events import Event, EventStream
from forebay.actors.expiry import Expiry
from forebay.actors.mailbox import MailboxSpec
from forebay.actors.ref import Ref

if TYPE_CHECKING:
    from forebay.actors.process import ActorProcess
    from forebay.backends.ports import Clock

FORGOTTEN_KEPT: Final = 65_536
"""Incarnation counts of removed paths that are remembered, so that a path added anew goes on counting."""


class System:
    """One per runtime; several may live in one event loop and know nothing of each other."""

    def __init__(self, clock: Clock, random: Callable[[str], Random]) -> None:
        self.clock = clock
        self.random = random
        self.events = EventStream()
        self.emit: Callable[[Event], None] = self.events.emit
        self.expiry = Expiry()
        self.busy: set[ActorProcess] = set()
        self.zombies: set[asyncio.Task[None]] = set()
        self._cells: dict[str, Cell] = {}
        self._removed: OrderedDict[str, int] = OrderedDict()

    def now(self) -> float:
        """Seconds of the runtime's clock, for events."""
        return self.clock.monotonic()

    def add(self, path: str, mailbox: MailboxSpec) -> Cell:
        """Make the cell of a new child; a path that was there before goes on counting incarnations."""
        if path in self._cells:
            raise ValueError(f"there is an actor at {path} already")
        cell = self._cells[path] = Cell(self, path, mailbox)
        cell.incarnation = self.recall(path)
        return cell

    def remove(self, cell: Cell, why: str) -> None:
        """The child is gone for good: close its mailbox and remember only its count."""
        cell.close(why)
        self.remember(cell.path, cell.incarnation)
        if self._cells.get(cell.path) is cell:
            del self._cells[cell.path]

    def recall(self, path: str) -> int:
        """Return how many incarnations a removed path has had."""
        return self._removed.pop(path, 0)

    def remember(self, path: str, incarnation: int) -> None:
        """Keep the count of a removed path, the oldest making room."""
        self._removed[path] = incarnation
        self._removed.move_to_end(path)
        if len(self._removed) > FORGOTTEN_KEPT:
            self._removed.popitem(last=False)

    def find(self, path: str) -> Cell | None:
        """Return the cell at `path`, or None."""
        return self._cells.get(path)

    def cell(self, path: str) -> Cell:
        """Return the cell at `path`. Raises `LookupError` if there is none."""
        cell = self._cells.get(path)
        if cell is None:
            raise LookupError(f"no actor at {path}; the tree has {len(self._cells)} actors")
        return cell

    def lookup(self, path: str) -> Ref[Any]:
        """Return the address of `path`. Raises `LookupError` if there is none."""
        return Ref(self.cell(path))

    def paths(self) -> list[str]:
        """Return the paths of all actors, in the order in which they were added."""
        return list(self._cells)
