"""What an actor can do to the world. One context per incarnation."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from forebay.actors.ask import Ask, Caller
from forebay.actors.events import Noted
from forebay.actors.exits import Exit
from forebay.actors.ref import Ref

if TYPE_CHECKING:
    from random import Random

    from forebay.actors.cell import Cell
    from forebay.actors.process import ActorProcess


class SupervisorLike(Protocol):
    """What an actor may ask of the supervisor above it; `supervisors.SupervisorRef` is the real one."""

    @property
    def path(self) -> str:
        """Where the supervisor stands in the tree."""

    async def start_child(self, spec: Any) -> Ref[Any] | None:
        """Start one more child at the end of the order."""

    async def terminate_child(self, child_id: str) -> None:
        """Stop a child and leave it stopped."""

    async def child_ended(self, child_id: str) -> Exit:
        """Wait until the child's current process has ended; return how."""


class Context:
    """Clock, random, refs, timers, tasks and events, as one actor sees them."""

    def __init__(self, process: ActorProcess) -> None:
        self._process = process
        self._cell = process.cell
        self._system = process.cell.system
        self._random: Random | None = None
        self._monitors: dict[int, Cell] = {}
        self._next_monitor = 0
        self.asked: Ask | None = None

    # --- identity

    @property
    def path(self) -> str:
        """Where this actor stands in the tree."""
        return self._cell.path

    @property
    def incarnation(self) -> int:
        """How many times this path has been started, this time included."""
        return self._process.incarnation

    @property
    def ref(self) -> Ref[Any]:
        """The actor's own address."""
        return Ref(self._cell)

    @property
    def supervisor(self) -> SupervisorLike:
        """The supervisor above. Wait for its answers in a task (`run`), never in a handler: it may be waiting for you."""
        return self._process.supervisor

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested; long work may look and leave early."""
        return self._process.stop_reason is not None

    # --- world

    def now(self) -> float:
        """Monotonic time (seconds) of the runtime's clock."""
        return self._system.clock.monotonic()

    def wall(self) -> int:
        """Unix time (milliseconds) of the runtime's clock."""
        return self._system.clock.wall()

    @property
    def random(self) -> Random:
        """The random stream of this path and incarnation; one more draw here shifts nobody else's."""
        if self._random is None:
            self._random = self._system.random(f"{self.path}#{self.incarnation}")
        return self._random

    def lookup(self, path: str) -> Ref[Any]:
        """Return the address of a path. Raises `LookupError` if nothing was ever started there."""
        return self._system.lookup(path)

    def note(self, name: str, **fields: str | float | bool | None) -> None:
        """Put a domain event into the stream."""
        self._system.emit(
            Noted(
                at=self._system.now(),
                path=self.path,
                incarnation=self.incarnation,
                name=name,
                fields=tuple(fields.items()),
            )
        )

    def show(self, text: str | None) -> None:
        """Have the tree show a text beside the actor, until it shows another or this incarnation ends."""
        self._cell.shown = text

    # --- replies

    def reply(self, value: object) -> None:
        """Answer the ask being handled; after a plain tell it does nothing."""
        if self.asked is not None:
            self.asked.reply(value)

    def fail(self, error: Exception) -> None:
        """Answer the ask being handled with an error, which the asker's `ask` raises."""
        if self.asked is not None:
            self.asked.fail(error)

    def caller(self) -> Caller | None:
        """Take the ask being handled, to reply after this handler has returned; None after a plain tell.

        If this incarnation ends first, the asker gets `ActorDied`.
        """
        if self.asked is not None:
            self._process.adopt(self.asked)
        return self.asked

    # --- timers and tasks

    def timer(self, name: str, delay: float, message: object) -> None:
        """Deliver `message` to this actor once, in `delay` seconds; a timer of the same name is replaced."""
        self._process.timers.set(name, delay, message)

    def every(self, name: str, interval: float, message: object) -> None:
        """Deliver `message` every `interval` seconds, counted from the end of the last handling."""
        self._process.timers.set(name, interval, message, interval)

    def cancel_timer(self, name: str) -> None:
        """Forget a timer; absent is fine. Its message will not arrive, even if it had fired already."""
        self._process.timers.cancel(name)

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the mailbox, in a task of this incarnation.

        If it raises, this actor fails with that error; when the actor ends, it is cancelled and waited for. One task per
        name at a time: a second one under a running name raises `ValueError`.
        """
        self._process.spawn(name, work)

    def running(self, name: str) -> bool:
        """Whether a task of that name still runs."""
        return name in self._process.tasks

    def cancel(self, name: str) -> None:
        """Cancel one of this actor's tasks; absent is fine."""
        task = self._process.tasks.get(name)
        if task is not None:
            task.cancel()

    def stop(self, reason: str = "done") -> None:
        """End this actor in order, after the current message, with exit `Normal`."""
        self._process.finish(reason)

    # --- monitors

    def monitor(self, ref: Ref[Any]) -> int:
        """Receive one `Down` when the actor's current incarnation ends; at once if none runs. Returns its number."""
        self._next_monitor += 1
        watched = self._monitors[self._next_monitor] = ref.place
        watched.watch(self._cell, self._next_monitor)
        return self._next_monitor

    def demonitor(self, monitor: int) -> None:
        """Take a monitor back; its `Down` will not arrive, even if it was on its way."""
        watched = self._monitors.pop(monitor, None)
        if watched is not None:
            watched.unwatch(self._cell, monitor)

    def expects(self, monitor: int) -> bool:
        """Consume a `Down`: True exactly once for a monitor that stands."""
        return self._monitors.pop(monitor, None) is not None

    def release_monitors(self) -> None:
        """Take all monitors back (at the incarnation's end)."""
        for monitor in tuple(self._monitors):
            self.demonitor(monitor)
