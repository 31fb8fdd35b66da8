"""The place of an actor in the tree: what stays while incarnations come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from forebay.actors.ask import Ask
from forebay.actors.events import DeadLetter, Dropped
from forebay.actors.exits import Exit, Normal, Shutdown
from forebay.actors.mailbox import ActorStopped, Mailbox, MailboxSpec

if TYPE_CHECKING:
    from forebay.actors.process import ActorProcess
    from forebay.actors.system import System


@frozen
class Down:
    """A monitored actor has ended. `monitor` is what `ctx.monitor` returned; delivered once."""

    monitor: int
    path: str
    incarnation: int
    exit: Exit


class Cell:
    """Mailbox, counters and monitors of one path."""

    __slots__ = (
        "__weakref__",
        "asking",
        "busy",
        "dead_letters",
        "handled",
        "incarnation",
        "keeps",
        "last_exit",
        "mailbox",
        "path",
        "process",
        "shown",
        "system",
        "watchers",
    )

    def __init__(self, system: System, path: str, mailbox: MailboxSpec) -> None:
        self.system = system
        self.path = path
        self.mailbox = Mailbox(path, mailbox, self._dropped)
        self.keeps = mailbox.keep
        self.process: ActorProcess | None = None
        self.incarnation = 0
        self.last_exit: Exit | None = None
        self.handled = 0
        self.busy = 0.0  # seconds from waking up to waiting again, all handlers' waits included
        self.dead_letters = 0
        self.shown: str | None = None
        self.asking: Cell | None = None
        self.watchers: dict[tuple[Cell, int], None] | None = None

    def watch(self, watcher: Cell, monitor: int) -> None:
        """Tell `watcher` once when the current incarnation ends; at once if there is none."""
        if self.process is None:
            self._tell_down(watcher, monitor)
            return
        if self.watchers is None:
            self.watchers = {}
        self.watchers[(watcher, monitor)] = None

    def unwatch(self, watcher: Cell, monitor: int) -> None:
        """Undo `watch`; absent is fine."""
        if self.watchers is not None:
            self.watchers.pop((watcher, monitor), None)

    def ended(self, exit_: Exit) -> None:
        """The current incarnation is over: remember how, and tell those who watch."""
        self.process = None
        self.shown = None
        self.last_exit = exit_
        self.asking = None
        watchers, self.watchers = self.watchers, None
        for watcher, monitor in watchers or ():
            self._tell_down(watcher, monitor)

    def close(self, why: str) -> None:
        """No incarnation will come again: refuse messages, and let what is queued go."""
        self.mailbox.close(why)
        self.clear(why)

    def clear(self, why: str) -> None:
        """Let everything queued go: asks fail, the rest are dead letters.

        But what meant something to one incarnation alone is void when that was asked to stop, and none is surprised.
        """
        void = not self.keeps and isinstance(self.last_exit, Normal | Shutdown)
        for message in self.mailbox.clear():
            if not void or isinstance(message, Ask):
                self.dead_letter(message, why)

    def dead_letter(self, message: object, why: str) -> None:
        """Report a message that reached nobody; a flood is reported by powers of two."""
        if isinstance(message, Ask):
            message.fail(ActorStopped(self.path, message.message, why))
            message = message.message
        self.dead_letters += 1
        if self.dead_letters & (self.dead_letters - 1) == 0:
            self.system.emit(
                DeadLetter(
                    at=self.system.now(),
                    path=self.path,
                    incarnation=self.incarnation,
                    message=type(message).__name__,
                    why=why,
                    count=self.dead_letters,
                )
            )

    def _dropped(self, message: object, why: str) -> None:
        if isinstance(message, Ask):
            message.fail(ActorStopped(self.path, message.message, f"the message was dropped ({why})"))
            message = message.message
        self.system.emit(
            Dropped(
                at=self.system.now(),
                path=self.path,
                incarnation=self.incarnation,
                message=type(message).__name__,
                why=why,
            )
        )

    def _tell_down(self, watcher: Cell, monitor: int) -> None:
        if watcher.process is not None:
            exit_ = self.last_exit or Normal("never started")
            watcher.mailbox.put_system(Down(monitor, self.path, self.incarnation, exit_))
