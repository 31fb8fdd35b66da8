"""What happens in the tree, as typed values; one stream feeds logs, metrics, traces and tests.

Subscribers can never hold an actor up: each has a bounded buffer, and what it does not read in time is dropped from the
old end and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from attrs import field, frozen

from forebay.actors.exits import Exit, describe


@frozen(kw_only=True)
class Event:
    """Something that happened. `at` is the loop's time (seconds); `path` and `incarnation` say to whom."""

    at: float
    path: str
    incarnation: int = 0

    def detail(self) -> str:
        """Return the rest of the event in one line, free of addresses."""
        return ""


@frozen(kw_only=True)
class Started(Event):
    """`on_start` returned; messages are handled from now on."""


@frozen(kw_only=True)
class StartFailed(Event):
    """The actor ended before it had started."""

    exit: Exit

    def detail(self) -> str:
        return describe(self.exit)


@frozen(kw_only=True)
class Exited(Event):
    """An incarnation that had started has ended."""

    exit: Exit

    def detail(self) -> str:
        return describe(self.exit)


@frozen(kw_only=True)
class Incident(Event):
    """A supervisor begins to act on one child's end. `restarting` are the ids that it will start again, in order."""

    child: str
    environment: bool
    restarting: tuple[str, ...]

    def detail(self) -> str:
        return f"{self.child} -> {', '.join(self.restarting) or '-'}"


@frozen(kw_only=True)
class RestartScheduled(Event):
    """The child will be started again in `delay` seconds; `failures` counts failures in a row."""

    delay: float
    failures: int

    def detail(self) -> str:
        return f"in {self.delay:.3f} s after {self.failures} in a row"


@frozen(kw_only=True)
class Escalated(Event):
    """A supervisor has used up its restart budget, stops its children and fails."""

    child: str

    def detail(self) -> str:
        return self.child


@frozen(kw_only=True)
class Parked(Event):
    """A child has used up its budget and stays down until someone restarts it or it has cooled off."""


@frozen(kw_only=True)
class Dropped(Event):
    """A full mailbox dropped a message by its overflow policy. `message` is the type's name."""

    message: str
    why: str

    def detail(self) -> str:
        return f"{self.message} ({self.why})"


@frozen(kw_only=True)
class DeadLetter(Event):
    """A message reached nobody. Emitted for the 1st, 2nd, 4th, 8th ... per actor; `count` says which it was."""

    message: str
    why: str
    count: int

    def detail(self) -> str:
        return f"{self.message} ({self.why}), number {self.count}"


@frozen(kw_only=True)
class HandlerStuck(Event):
    """One handler has run longer than its soft limit; `running` is for how long (seconds)."""

    running: float

    def detail(self) -> str:
        return f"for {self.running:.1f} s"


@frozen(kw_only=True)
class LoopLag(Event):
    """The event loop was held up: a timer came `lag` seconds late. Something blocks."""

    lag: float

    def detail(self) -> str:
        return f"{self.lag:.3f} s"


@frozen(kw_only=True)
class Zombie(Event):
    """A task of this actor is still alive after the actor has ended."""

    task: str

    def detail(self) -> str:
        return self.task


@frozen(kw_only=True)
class Noted(Event):
    """A domain event that an actor reported through its context, by name."""

    name: str
    fields: tuple[tuple[str, str | int | float | bool | None], ...] = field(default=())

    def detail(self) -> str:
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.fields)])


class Subscription:
    """A bounded view of the stream: iterate it, leave it with `async with` or `close()`."""

    def __init__(self, events: EventStream, capacity: int) -> None:
        self._events = events
        self._buffer: deque[Event] = deque(maxlen=capacity)
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self.missed = 0

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._buffer:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._buffer.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Receive no more; what is buffered can still be read."""
        self._closed = True
        self._events.unlisten(self._take)
        self._wake()

    def drain(self) -> list[Event]:
        """Return what is buffered now and empty the buffer."""
        events = list(self._buffer)
        self._buffer.clear()
        return events

    def _take(self, event: Event) -> None:
        if len(self._buffer) == self._buffer.maxlen:
            self.missed += 1
        self._buffer.append(event)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class EventStream:
    """Hands each event to every listener, in the order of emission."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def emit(self, event: Event) -> None:
        """Tell everyone. Costs nothing to speak of when nobody listens."""
        for listener in tuple(self._listeners):
            listener(event)

    def subscribe(self, capacity: int = 1000) -> Subscription:
        """Return a new subscription with room for `capacity` unread events."""
        subscription = Subscription(self, capacity)
        self.listen(subscription._take)  # noqa: SLF001 - the two are one concept
        return subscription

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with each event, at once. For traces and metrics: it must be quick and must not raise."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[Event], None]) -> None:
        """Undo `listen`; absent is fine."""
        if listener in self._listeners:
            self._listeners.remove(listener)
