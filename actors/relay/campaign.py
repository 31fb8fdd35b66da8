"""Winning a topic's lock: wait until it is free, take it, and make sure that it is ours (design: Terms)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from attrs import frozen

from forebay.actors.context import Context
from forebay.actors.relay.outage import Outage
from forebay.backends.errors import SessionGone
from forebay.backends.ports import Coordination

WATCH: Final = 300.0
"""Seconds that one watch of a held lock waits for a change."""

MIN_RETRY: Final = 0.1
"""Seconds before a lock that is free and yet not given is tried again, at least: its lock delay ends without a sign."""


RankDelay = Callable[[], Awaitable[float]]


LOCKS: Final = "forebay/locks/"
"""The prefix of the keys of the topics' locks. A key's value is the instance that took it last."""


def lock_key(topic: str) -> str:
    """Return the key of a topic's lock."""
    return LOCKS + topic


@frozen
class Held:
    """The lock, verified. `index` is its ModifyIndex at acquisition, `renewed_at` when the last good renewal was sent."""

    session: str
    index: int
    renewed_at: float


@frozen
class Candidacy:
    """Who wants which lock, and on which terms. `instance` is unique to one life of one process. Times are seconds.

    `rank_delay` says, each time that the lock gets free, for how long it is to be left to others.
    """

    topic: str
    instance: str
    ttl: float
    lock_delay: float
    rank_delay: RankDelay


class Campaign:
    """One incarnation's way to the lock. `session` is what must be destroyed in the end; None before there is one.

    A session exists only from the moment the lock looks free: who waits in line costs coordination one watch. A lock that
    is held in our own name was an earlier incarnation's, whose term has ended: its session is destroyed.
    """

    def __init__(self, ctx: Context, coordination: Coordination, candidacy: Candidacy, outage: Outage) -> None:
        self._ctx = ctx
        self._coordination = coordination
        self._candidacy = candidacy
        self._outage = outage
        self._key = lock_key(candidacy.topic)
        self._name = candidacy.instance.encode()
        self.session: str | None = None

    async def win(self) -> Held:
        """Return when the lock is ours, however long that takes."""
        index, wait, refused = 0, WATCH, False
        while True:
            entry, index = await self._outage.call(partial(self._coordination.watch, self._key, index, wait))
            if entry is not None and entry.session is not None:
                if entry.value == self._name:
                    await self._outage.call(partial(self._coordination.destroy_session, entry.session))
                wait, refused = WATCH, False
                continue
            if not refused:  # in its lock delay those who tried come again in the order in which they tried
                await asyncio.sleep(await self._outage.call(self._candidacy.rank_delay))
            held = await self._attempt()
            if held is not None:
                return held
            refused = True
            wait = max(self._candidacy.lock_delay, MIN_RETRY)

    async def _attempt(self) -> Held | None:
        """Try once. None: somebody else has it, or it is in its lock delay, or our session has lapsed meanwhile."""
        call, port, wanted = self._outage.call, self._coordination, self._candidacy
        session = self.session = await call(
            partial(port.create_session, f"forebay-{wanted.topic}", wanted.ttl, wanted.lock_delay)
        )
        try:
            if await call(partial(port.acquire, self._key, session, self._name)):
                renewed_at = await call(partial(self._renew, session))
                entry = await call(partial(port.get, self._key))
                if entry is not None and entry.session == session:
                    return Held(session, entry.modify_index, renewed_at)
            await call(partial(port.destroy_session, session))
        except SessionGone:
            pass
        self.session = None
        return None

    async def _renew(self, session: str) -> float:
        sent = self._ctx.now()
        await self._coordination.renew_session(session)
        return sent
