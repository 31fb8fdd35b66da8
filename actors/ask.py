"""One ask: a message that somebody waits for the reply to."""

from __future__ import annotations

import asyncio
from typing import Any


class Caller:
    """The asking side of one ask. Reply once; a reply that comes too late vanishes."""

    __slots__ = ("future",)

    future: asyncio.Future[Any]

    def reply(self, value: object) -> None:
        """Answer with a value."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Answer with an error, which `ask` raises."""
        if not self.future.done():
            self.future.set_exception(error)


class Ask(Caller):
    """An ask in the mailbox: the message and where its reply goes."""

    __slots__ = ("message",)

    def __init__(self, message: object, future: asyncio.Future[Any]) -> None:
        self.future, self.message = future, message
