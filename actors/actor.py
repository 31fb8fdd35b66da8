"""The actor: what a user of the model writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from forebay.actors.exits import Exit

if TYPE_CHECKING:
    from forebay.actors.context import Context

M = TypeVar("M")


class Actor(Generic[M]):
    """State and behaviour behind a mailbox. One message at a time; an exception ends this incarnation.

    A restart makes a new object through the child spec's factory, so nothing of a failed incarnation is left in the next.
    Touch the world through the context only (clock, random, refs, tasks): that is what makes a run replayable.
    """

    async def on_start(self, ctx: Context) -> None:
        """Run before the first message, and before the supervisor starts the next child. Raising is a failed start."""

    async def on_message(self, ctx: Context, message: M) -> None:
        """Handle one message. Bad input is part of the protocol: answer it; raise only for what is broken."""
        raise NotImplementedError(f"{type(self).__name__} takes no messages; {type(message).__name__} came")

    async def on_stop(self, ctx: Context, exit_: Exit) -> None:
        """Run once after a successful start, however this incarnation ended, in what is left of its time to stop."""
