"""A process of the simulation: killed, it runs no line more; paused, it goes on later as if nothing had been.

Several live on one virtual loop. What a process sets in motion carries its name in the context (`scenarios.owner`), and the
loop lets none of it run while the process is paused, and never again once it is dead: no `finally`, no `except`, as after
`kill -9`. A timer of a paused process fires when it goes on, overdue. What a service does for a process is not the
process's: it is done whatever becomes of the caller, who waits for a future.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeVar

from forebay.scenarios.loop import VirtualLoop
from forebay.scenarios.owner import OWNER, unowned

T = TypeVar("T")


class HostGone(RuntimeError):
    """The process that was to do something has ended."""


class Being(enum.Enum):
    """How a process is."""

    RUNNING = "running"
    PAUSED = "paused"
    DEAD = "dead"


class Process:
    """One life of a host: `name` and `number`, from 1. Its verbs are for those outside it. `stopping` is set by whoever asks
    its program to stop.
    """

    def __init__(self, loop: VirtualLoop, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.being = Being.RUNNING
        self.stopping = False
        self._loop = loop
        self._held: list[asyncio.Handle] = []
        self._awaited: dict[int, asyncio.Future[Any]] = {}
        self._calls = itertools.count()

    @property
    def running(self) -> bool:
        """Whether its code runs."""
        return self.being is Being.RUNNING

    def admits(self, handle: asyncio.Handle) -> bool:
        """Whether a callback may run now; what comes up during a pause is kept."""
        if self.being is Being.PAUSED:
            self._held.append(handle)
        return self.being is Being.RUNNING

    def context(self) -> Context:
        """A new context that is this process's."""
        context = copy_context()
        context.run(OWNER.set, self)
        return context

    async def run(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `act` in this process and return what it returns, or raise what it raises; `HostGone` if the process ends.

        To be awaited from outside: a cancellation of the caller does not reach into the process.
        """
        if self.being is Being.DEAD:
            raise HostGone(f"{self.name} has ended; start it first")
        number, answer = next(self._calls), self._loop.create_future()
        self._awaited[number] = answer
        task = self._loop.create_task(act(), name=f"{self.name}#{self.number}: call {number}", context=self.context())
        task.add_done_callback(lambda done: _tell(done, answer), context=unowned())
        try:
            result: T = await answer
        finally:
            self._awaited.pop(number, None)
        return result

    def kill(self) -> bool:
        """End it between two steps of its code; none of its code runs any more. Whoever waits for it gets `HostGone`. False
        for one that is dead.
        """
        if self.being is Being.DEAD:
            return False
        self.being = Being.DEAD
        self._held.clear()
        self._loop.bury(self)
        awaited, self._awaited = self._awaited, {}
        for answer in awaited.values():
            if not answer.done():
                answer.set_exception(HostGone(f"{self.name} was killed"))
        return True

    def pause(self) -> bool:
        """Hold everything back, as SIGSTOP does; time goes on. False for one that does not run."""
        if self.being is not Being.RUNNING:
            return False
        self.being = Being.PAUSED
        return True

    def resume(self) -> bool:
        """Go on with what was held back, in the order in which it came up. False for one that is not paused."""
        if self.being is not Being.PAUSED:
            return False
        self.being = Being.RUNNING
        held, self._held = self._held, []
        self._loop.take_up(held)
        return True


def _tell(task: asyncio.Task[T], answer: asyncio.Future[T]) -> None:
    if answer.done():
        return
    error = HostGone("the call was cancelled in its process") if task.cancelled() else task.exception()
    if error is None:
        answer.set_result(task.result())
    else:
        answer.set_exception(error)
