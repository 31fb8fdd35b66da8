"""Says that this instance lives, so that the others leave it its share of the topics (row R13)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final, Never

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.exits import Exit
from forebay.actors.relay.outage import RETRY, Outage
from forebay.actors.relay.ranking import INSTANCES, instance_key
from forebay.actors.within import within
from forebay.backends.errors import SessionGone, Unavailable
from forebay.backends.ports import Coordination
from forebay.config.values import Backoff

LET_GO: Final = 1.0
"""Seconds that signing off may take when the actor ends; what is left lapses by itself."""


class Membership(Actor[Never]):
    """Holds the instance's key with a session that it renews three times in `ttl` seconds; registers again when that has
    ended.

    An instance that has died leaves its key without a session: it does not count, and the next to register removes it.
    Nothing depends on the list being right but how the topics spread: the lock alone says who has one.
    """

    def __init__(self, coordination: Coordination, instance: str, ttl: float, *, backoff: Backoff = RETRY) -> None:
        self._coordination = coordination
        self._instance = instance
        self._key = instance_key(instance)
        self._ttl = ttl
        self._backoff = backoff
        self._session: str | None = None
        self._outage: Outage

    async def on_start(self, ctx: Context) -> None:
        """Begin; a coordination that is away is waited for."""
        self._outage = Outage(ctx, "coordination", self._backoff)
        ctx.run("stay", self._stay())

    async def on_stop(self, ctx: Context, exit_: Exit) -> None:  # noqa: ARG002 - however it ended
        """Sign off."""
        ctx.cancel("stay")
        if self._session is None:
            return
        try:
            await within(LET_GO, self._sign_off(self._session))
        except Unavailable as error:
            ctx.note("membership_not_ended", key=self._key, why=str(error), advice="it lapses by itself")

    async def _stay(self) -> None:
        while True:
            try:
                session = await self._register()
                await self._forget_the_dead()
                await self._until_gone(session)
            except SessionGone:
                pass

    async def _register(self) -> str:
        """Take the key with a new session, from an earlier one of ours too."""
        call, port = self._outage.call, self._coordination
        if self._session is not None:
            await call(partial(port.destroy_session, self._session))
        session = self._session = await call(partial(port.create_session, f"forebay-{self._instance}", self._ttl, 0.0))
        await call(partial(port.delete, self._key))
        await call(partial(port.acquire, self._key, session, self._instance.encode()))
        return session

    async def _forget_the_dead(self) -> None:
        for entry in await self._outage.call(partial(self._coordination.under, INSTANCES)):
            if entry.session is None:
                await self._outage.call(partial(self._coordination.delete, entry.key))

    async def _until_gone(self, session: str) -> None:
        """Renew; return when the key is not ours any more. Raises `SessionGone`."""
        call, port = self._outage.call, self._coordination
        while True:
            await asyncio.sleep(self._ttl / 3)
            await call(partial(port.renew_session, session))
            entry = await call(partial(port.get, self._key))
            if entry is None or entry.session != session:
                return

    async def _sign_off(self, session: str) -> None:
        await self._coordination.delete(self._key)
        await self._coordination.destroy_session(session)
