"""Named timers of one incarnation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from attrs import frozen


@frozen(eq=False)
class Fired:
    """A timer's message on its way. Its identity tells a timer in force from one that was replaced, also from one of an
    earlier incarnation.
    """

    name: str
    message: Any


class Timers:
    """A timer has a name; setting the name again replaces it; all end with the incarnation.

    A fired timer travels in the system lane and is dropped on arrival if it was replaced or cancelled on the way.
    """

    def __init__(self, post: Callable[[Fired], None]) -> None:
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._handles: dict[str, tuple[asyncio.TimerHandle, Fired, float | None]] = {}

    def set(self, name: str, delay: float, message: object, every: float | None = None) -> None:
        """Deliver `message` in `delay` seconds, and then every `every` seconds after each was handled."""
        self.cancel(name)
        fired = Fired(name, message)
        handle = self._loop.call_later(delay, self._post, fired)
        self._handles[name] = (handle, fired, every)

    def cancel(self, name: str) -> None:
        """Forget the timer; absent is fine."""
        entry = self._handles.pop(name, None)
        if entry is not None:
            entry[0].cancel()

    def accept(self, fired: Fired) -> bool:
        """Say whether a fired timer still counts, and forget it if it was to fire once."""
        entry = self._handles.get(fired.name)
        if entry is None or entry[1] is not fired:
            return False
        if entry[2] is None:
            del self._handles[fired.name]
        return True

    def rearm(self, fired: Fired) -> None:
        """After its message was handled: set a repeating timer again, unless the handler changed it."""
        entry = self._handles.get(fired.name)
        if entry is not None and entry[1] is fired and entry[2] is not None:
            self.set(fired.name, entry[2], fired.message, entry[2])

    def due(self) -> dict[str, float]:
        """When each timer that is set fires next, on the loop's clock (seconds), by name."""
        return {name: handle.when() for name, (handle, _, _) in self._handles.items()}

    def clear(self) -> None:
        """Cancel them all."""
        for handle, _, _ in self._handles.values():
            handle.cancel()
        self._handles.clear()
