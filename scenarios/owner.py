"""Whose code a callback is: simulated processes share one loop, and each may stop for a while or for ever.

The owner is part of the context that asyncio copies for every task, timer and callback, so whatever a process sets in
motion is its own. A virtual loop asks the owner before it runs a callback. What has no owner always runs: the test itself,
and the simulated services.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, ContextVar
from typing import Final, Protocol


class Owner(Protocol):
    """A simulated process, to the loop."""

    @property
    def running(self) -> bool:
        """Whether its code runs at all."""

    def admits(self, handle: asyncio.Handle) -> bool:
        """Whether a callback that has come up may run now. If not, it is the owner's to keep for later or to forget."""


OWNER: Final[ContextVar[Owner | None]] = ContextVar("forebay-owner", default=None)


def owner_in(context: Context | None) -> Owner | None:
    """Return the owner that a context names; for None, the current one's."""
    return OWNER.get() if context is None else context.get(OWNER)


def admitted(handle: asyncio.Handle) -> bool:
    """Whether a callback may run now, as its owner says."""
    owner: Owner | None = handle._context.get(OWNER)  # type: ignore[attr-defined]  # noqa: SLF001 - it has no other door
    return owner is None or owner.admits(handle)


def unowned() -> Context:
    """Return a new context that is nobody's: for what a simulated service goes on doing when its caller is gone."""
    return Context()
