"""What the lease keeper knows of one topic: who runs what, and which outcomes wait to be recorded. No I/O."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from itertools import islice

from forebay.actors.work.messages import Assignment
from forebay.backends.ports import Outcome
from forebay.backends.wakeups import Waiter

Hold = tuple[str, int]
"""A job's id and the epoch of its lease."""


class TopicLease:
    """One worker's hold on the jobs of one topic.

    A job is `running` from its claim until its outcome is told, then `ending` until the queue has recorded that. `occupied`
    is set while any job is running or ending, `unrecorded` while any is ending, `recorded` while none is. `received` is the
    last claim sequence, `until` the monotonic time (seconds) up to which the queue is sure to hold the lease for us, `pause`
    the wait before outcomes are sent again that the queue could not be told.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.received = 0
        self.running: dict[Hold, Assignment] = {}
        self.ending: dict[Hold, Outcome] = {}
        self.until = -math.inf
        self.occupied = asyncio.Event()
        self.unrecorded = asyncio.Event()
        self.recorded = asyncio.Event()
        self.pause = Waiter()
        self._note()

    def take(self, assignment: Assignment) -> None:
        """A job was claimed, and given to a slot."""
        self.running[(assignment.id, assignment.epoch)] = assignment
        self._note()

    def end(self, outcome: Outcome) -> bool:
        """Take an outcome to record; False if nobody runs that job under that lease (any more)."""
        hold = (outcome.id, outcome.epoch)
        if self.running.pop(hold, None) is None:
            return False
        self.give_back(outcome)
        return True

    def give_back(self, outcome: Outcome) -> None:
        """Take the outcome of a job that no slot was given."""
        self.ending[(outcome.id, outcome.epoch)] = outcome
        self._note()

    def batch(self, most: int) -> tuple[Outcome, ...]:
        """The oldest outcomes to record."""
        return tuple(islice(self.ending.values(), most))

    def done(self, batch: Iterable[Outcome]) -> None:
        """The queue has judged these outcomes."""
        for outcome in batch:
            del self.ending[(outcome.id, outcome.epoch)]
        self._note()

    def forget(self, gone: Callable[[Assignment], bool]) -> list[Assignment]:
        """Stop counting running jobs as ours; return them."""
        lost = [assignment for assignment in self.running.values() if gone(assignment)]
        for assignment in lost:
            del self.running[(assignment.id, assignment.epoch)]
        self._note()
        return lost

    def _note(self) -> None:
        _set(self.unrecorded, bool(self.ending))
        _set(self.recorded, not self.ending)
        _set(self.occupied, bool(self.running or self.ending))


def _set(event: asyncio.Event, state: bool) -> None:
    if state:
        event.set()
    else:
        event.clear()
