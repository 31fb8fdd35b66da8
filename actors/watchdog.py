"""Two things no actor can see of itself: that its handler is stuck, and that the loop is.

One timer per runtime looks at the actors that are not waiting for a message, so idle actors cost nothing and a message
costs nothing: an actor whose count of handled messages has not moved since a look is still in the same handler.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define

from forebay.actors.events import HandlerStuck, LoopLag

if TYPE_CHECKING:
    from forebay.actors.process import ActorProcess
    from forebay.actors.system import System


@define
class _Seen:
    handled: int
    since: float
    reported: bool = False
    cancelled: bool = False


class Watchdog:
    """Reports handlers over their soft limit, cancels those over their hard limit, reports a lagging loop.

    `interval` (seconds) is also how late a report may come; `lag` (seconds) is what a late timer is reported from.
    """

    def __init__(self, system: System, interval: float = 0.5, lag: float = 0.1) -> None:
        self._system = system
        self._interval = interval
        self._lag = lag
        self._seen: dict[ActorProcess, _Seen] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look, every interval."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._interval, self._look, loop.time() + self._interval)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._seen.clear()

    def _look(self, due: float) -> None:
        now = asyncio.get_running_loop().time()
        self.start()
        if now - due >= self._lag:
            self._system.emit(LoopLag(at=self._system.now(), path="/", lag=now - due))
        if not self._system.busy and not self._seen:
            return
        self._seen = {process: self._judge(process, now) for process in sorted(self._system.busy, key=_by_path)}

    def _judge(self, process: ActorProcess, now: float) -> _Seen:
        handled = process.cell.handled
        seen = self._seen.get(process)
        if seen is None or seen.handled != handled:
            return _Seen(handled, now)
        running, limits = now - seen.since, process.limits
        if running >= limits.soft and not seen.reported:
            seen.reported = True
            self._system.emit(
                HandlerStuck(
                    at=self._system.now(),
                    path=process.cell.path,
                    incarnation=process.incarnation,
                    running=running,
                )
            )
        if limits.hard is not None and running >= limits.hard and not seen.cancelled:
            seen.cancelled = True
            process.overran(limits.hard)
        return seen


def _by_path(process: ActorProcess) -> str:
    return process.cell.path
