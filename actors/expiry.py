"""The time-outs of asks: one timer of the event loop for all that wait.

Nearly every ask is answered long before its time-out; a loop timer for each, made and cancelled again, took a fifth of an
ask. Here an ask is a pair in a heap and an entry in a dict, and the order of expiry is as exact.
"""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

from forebay.actors.ask import Ask
from forebay.actors.mailbox import ActorStopped
from forebay.actors.ref import AskTimeout

SLACK: Final = 64
"""So many deadlines of answered asks may stay in the heap, beyond one for each that waits."""


class Expiry:
    """Every ask that waits for its reply, by deadline."""

    __slots__ = ("_added", "_heap", "_next", "_timer", "_waiting")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._waiting: dict[int, tuple[Ask, str, float]] = {}
        self._added = 0
        self._next = inf
        self._timer: asyncio.TimerHandle | None = None

    def add(self, ask: Ask, path: str, timeout: float, deadline: float) -> int:
        """Fail `ask` with `AskTimeout` when the loop's time reaches `deadline`; return its number, for `remove`."""
        self._added = number = self._added + 1
        self._waiting[number] = (ask, path, timeout)
        heappush(self._heap, (deadline, number))
        if deadline < self._next:
            self._arm(deadline)
        return number

    def remove(self, number: int) -> None:
        """The ask was answered, or its asker has gone."""
        self._waiting.pop(number, None)
        if len(self._heap) > 2 * len(self._waiting) + SLACK:
            self._heap = [entry for entry in self._heap if entry[1] in self._waiting]
            heapify(self._heap)

    def close(self) -> None:
        """No reply will come any more: whoever waits still, waits for an actor that forgot to reply."""
        self._disarm()
        self._heap.clear()
        for ask, path, _ in self._waiting.values():
            ask.fail(ActorStopped(path, ask.message, "it has stopped and did not reply"))
        self._waiting.clear()

    def _arm(self, deadline: float) -> None:
        self._disarm()
        self._next = deadline
        self._timer = asyncio.get_running_loop().call_at(deadline, self._due)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._next = inf

    def _due(self) -> None:
        now = self._next
        self._disarm()
        while self._heap:
            deadline, number = self._heap[0]
            if deadline > now and number in self._waiting:
                self._arm(deadline)
                return
            heappop(self._heap)
            entry = self._waiting.pop(number, None)
            if entry is not None:
                ask, path, timeout = entry
                ask.fail(AskTimeout(path, timeout))
