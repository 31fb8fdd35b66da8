"""Refs: how one actor, or the program around the tree, reaches another. A ref outlives restarts of what it names."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from forebay.actors.ask import Ask, Caller
from forebay.actors.exits import ActorError, Exit, describe
from forebay.actors.mailbox import ActorStopped, Mailbox, MailboxFull

if TYPE_CHECKING:
    from forebay.actors.cell import Cell

__all__ = ["ActorDied", "Ask", "AskCycle", "AskTimeout", "Caller", "Ref", "owner"]

M = TypeVar("M", contravariant=True)

# Whose task this is. Copied into every task that an actor creates, so it also tells whose a left-over task is.
owner: ContextVar[Cell | None] = ContextVar("forebay_owner", default=None)


class AskTimeout(ActorError):
    """No reply came in time. Whether the message was handled is not known."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__(f"{path} did not reply within {timeout} s")
        self.path, self.timeout = path, timeout


class AskCycle(ActorError):
    """This ask could never be answered: its target waits, through `path`, for the actor that asks."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__("these would wait for one another: " + " -> ".join(path))
        self.path = path


class ActorDied(ActorError):
    """The actor ended while it had this ask in hand. `exit` is how; the message may have been handled in part."""

    def __init__(self, path: str, exit_: Exit) -> None:
        super().__init__(f"{path} ended before it replied: {describe(exit_)}")
        self.path, self.exit = path, exit_


class Ref(Generic[M]):
    """The address of an actor, good across restarts. Messages of one sender arrive in the order sent."""

    __slots__ = ("_cell", "_mailbox")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._mailbox = cell.mailbox

    def __repr__(self) -> str:
        return f"Ref({self._cell.path})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other.path == self.path and other._cell.system is self._cell.system

    def __hash__(self) -> int:
        return hash(self._cell.path)

    @property
    def path(self) -> str:
        """Where the actor stands in the tree."""
        return self._cell.path

    @property
    def alive(self) -> bool:
        """Whether an incarnation runs now. By the time you look, it may have changed."""
        return self.place.process is not None

    @property
    def place(self) -> Cell:
        """The cell that stands at this path now, or the last that did. For the runtime."""
        self._current()
        return self._cell

    def tell(self, message: M) -> None:
        """Deliver now, or raise `MailboxFull` or `ActorStopped` with the message."""
        mailbox = self._mailbox
        if len(mailbox.user) < mailbox.limit:
            mailbox.user.append(message)
            if mailbox.waiter is not None:
                mailbox.wake()
        else:
            self._current().put(message)

    async def send(self, message: M) -> None:
        """Deliver as soon as there is room. Raises `ActorStopped`; `MailboxFull` only under overflow `reject`."""
        mailbox = self._mailbox
        if len(mailbox.user) < mailbox.limit:
            mailbox.user.append(message)
            if mailbox.waiter is not None:
                mailbox.wake()
        else:
            await self._current().put_wait(message)

    async def ask(self, message: M, timeout: float) -> Any:
        """Deliver and wait for the reply, at most `timeout` seconds in all.

        Raises `AskTimeout`; `ActorDied` as soon as the actor ends with this ask in hand; `ActorStopped` if it takes no
        messages; `AskCycle` at once where the wait would be for ever; and whatever the actor answered with `fail`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        mailbox = self._current()
        asker = self._begin_asking()
        expiry, number = self._cell.system.expiry, 0
        try:
            ask = Ask(message, loop.create_future())
            if len(mailbox.user) < mailbox.limit:
                mailbox.put(ask)
            else:
                await self._squeeze_in(ask, deadline, timeout)
            # Only now: a reply future that nobody awaits must not be given an error.
            number = expiry.add(ask, self._cell.path, timeout, deadline)
            return await ask.future
        finally:
            expiry.remove(number)
            if asker is not None:
                asker.asking = None

    async def _squeeze_in(self, ask: Ask, deadline: float, timeout: float) -> None:
        try:
            await self._mailbox.put_wait(ask, deadline)
        except MailboxFull as full:
            if self._mailbox.waits_for_room:
                raise AskTimeout(self.path, timeout) from full
            raise MailboxFull(self.path, self._mailbox.capacity, ask.message) from None
        except ActorStopped as stopped:
            raise ActorStopped(self.path, ask.message, self._mailbox.closed or str(stopped)) from None

    def _current(self) -> Mailbox:
        """Return the mailbox to use: of the cell that stands at this path now, if ours was removed."""
        if self._mailbox.closed is not None:
            cell = self._cell.system.find(self._cell.path)
            if cell is not None and cell is not self._cell:
                self._cell, self._mailbox = cell, cell.mailbox
        return self._mailbox

    def _begin_asking(self) -> Cell | None:
        """Note who waits for whom, and refuse to close a circle.

        Only an ask from an actor's own task holds its handler up; from a task beside it the handler goes on.
        """
        asker = owner.get()
        if asker is None or asker.process is None or asker.process.task is not asyncio.current_task():
            return None
        chain = [asker.path, self.path]
        link: Cell | None = self._cell
        while link is not None and link is not asker:
            link = link.asking
            if link is not None:
                chain.append(link.path)
        if link is asker:
            raise AskCycle(tuple(chain))
        asker.asking = self._cell
        return asker
