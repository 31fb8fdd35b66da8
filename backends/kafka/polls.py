"""Waiting for news: one request at each leader, held back there until something comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from attrs import frozen

HOLD: Final = 0.1
"""Seconds that a broker holds back a first request for news. One for other positions, sent meanwhile, waits behind it."""

CALM: Final = 1.0
"""Seconds that it comes to, twice as long each time, while nothing comes and the positions stay. So waiting costs a broker
one request in as many seconds, and who waits hears of news at once all the same."""

Positions = Mapping[int, int]
"""Offsets by partition."""

Ask = Callable[[int, Positions, float], Coroutine[Any, Any, bool]]
"""Ask a leader to answer when one of the positions is passed, or after so many seconds; whether there may be something."""


@frozen
class _Poll:
    positions: Positions
    hold: float
    task: asyncio.Task[bool]

    def covers(self, positions: Positions) -> bool:
        return not self.task.done() and positions.items() <= self.positions.items()

    def was_in_vain(self, positions: Positions) -> bool:
        task = self.task
        ended = task.done() and not task.cancelled() and task.exception() is None
        return ended and not task.result() and self.positions == positions


class Polls:
    """The requests for news of one topic that are under way, by leader.

    A request outlives the wait it was sent for: the next wait for the same positions finds it there.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._polls: dict[int, _Poll] = {}

    async def news(self, leaders: Mapping[int, Positions], wait: float) -> None:
        """Return when one of the leaders may have something, at the latest after `wait` seconds. Raises what asking does."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while (left := deadline - loop.time()) > 0:
            polls = [self._poll(node, positions, left) for node, positions in leaders.items()]
            done, _ = await asyncio.wait(polls, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if any(poll.result() for poll in done):
                return

    def _poll(self, node: int, positions: Positions, left: float) -> asyncio.Task[bool]:
        last = self._polls.get(node)
        if last is not None and last.covers(positions):
            return last.task
        hold = min(2 * last.hold, CALM) if last is not None and last.was_in_vain(positions) else min(HOLD, left)
        task = asyncio.get_running_loop().create_task(self._ask(node, positions, hold))
        task.add_done_callback(_seen)
        self._polls[node] = _Poll(positions, hold, task)
        return task

    async def close(self) -> None:
        """End those under way."""
        tasks = [poll.task for poll in self._polls.values() if not poll.task.done()]
        self._polls.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _seen(task: asyncio.Task[bool]) -> None:
    """Take note of how a poll ended that nobody waits for, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()
