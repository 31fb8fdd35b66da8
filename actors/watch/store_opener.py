"""Opening a store that is a server's: however long it is away, and where everybody can see what is waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Never

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.exits import EnvironmentExit
from forebay.backends.errors import Unavailable


class StoreAway(EnvironmentExit):
    """The server does not answer, or not yet. Its place in the tree waits, with this as its last exit."""


class StoreOpener(Actor[Never]):
    """Opens one store when it starts; its calls raise `Unavailable` until then, which its users wait out.

    Exits with `StoreAway` while the store is `Unavailable`. Any other error of `open_`, which may be called again after it
    failed or was cancelled, is the store's answer that it cannot be used as the configuration asks.
    """

    def __init__(self, open_: Callable[[], Awaitable[None]]) -> None:
        self._open = open_

    async def on_start(self, ctx: Context) -> None:  # noqa: ARG002
        try:
            await self._open()
        except Unavailable as error:
            raise StoreAway(str(error)) from error
