"""The rate limiter: how many jobs a topic's relay may move, changed live and by the room in the queue (rows R7, R8)."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from functools import partial
from typing import Final

from attrs import frozen

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.limits import limit_key, read_limit
from forebay.actors.relay.headroom import LOOK, PATIENCE, Room, next_look
from forebay.actors.relay.messages import Permits, Take
from forebay.actors.relay.outage import RETRY, Outage
from forebay.actors.relay.replies import answer
from forebay.actors.relay.token_bucket import TokenBucket
from forebay.actors.within import within
from forebay.backends.errors import BackendError
from forebay.backends.ports import Coordination, Entry, Queue
from forebay.config.units import RATE_FORM, show_rate
from forebay.config.values import Backoff

WATCH: Final = 300.0
"""Seconds that one watch waits for a change."""


@frozen
class LimitChanged:
    """What the watch saw; None: no limit is set there."""

    value: bytes | None


@frozen
class RoomSeen:
    """What the queue said of its room: the free share, 0 to 1."""

    free: float


@frozen
class Due:
    """The first in line may have its permits now."""


class RateLimiter(Actor[Take | LimitChanged | RoomSeen | Due]):
    """Grants permits first come, first served, at the rate that coordination holds, or else `rate` (jobs/s; None: no limit).

    `burst` (jobs) is what may be granted at once after a quiet time; see `TokenBucket` for larger takings. Fails closed:
    nothing is granted before the first look at coordination and at the queue, nor while this actor is down. While either is
    away, and for a value that is no limit, what was known last stays.

    As `queue` fills the rate falls, to a stop before it is full; without a limit there is only the stop. See `headroom`.
    Notes `limit_set`, `limit_invalid`, `queue_filling` and `queue_has_room`.
    """

    def __init__(
        self,
        *,
        topic: str,
        rate: float | None,
        burst: float,
        coordination: Coordination | None,
        queue: Queue,
        backoff: Backoff = RETRY,
    ) -> None:
        self._key = limit_key(topic)
        self._rate = rate
        self._burst = burst
        self._coordination = coordination
        self._queue = queue
        self._backoff = backoff
        self._line: deque[Take] = deque()
        self._open = coordination is None
        self._limit = rate
        self._room = Room()
        self._bucket: TokenBucket

    async def on_start(self, ctx: Context) -> None:
        self._bucket = TokenBucket(self._rate, self._burst, ctx.now())
        if self._coordination is not None:
            ctx.run("watch", self._watch(ctx, self._coordination))
        ctx.run("look", self._look_for_ever(ctx))

    async def on_message(self, ctx: Context, message: Take | LimitChanged | RoomSeen | Due) -> None:
        if isinstance(message, Take):
            self._line.append(message)
        elif isinstance(message, LimitChanged):
            self._set_limit(ctx, message.value)
        elif isinstance(message, RoomSeen):
            self._see_room(ctx, message.free)
        self._grant(ctx)

    def _grant(self, ctx: Context) -> None:
        ctx.cancel_timer("due")
        while self._open and self._room.share > 0.0 and self._line:
            wait = self._bucket.take(self._line[0].count, ctx.now())
            if wait > 0.0:
                if wait != math.inf:
                    ctx.timer("due", wait, Due())
                return
            granted = self._line.popleft()
            answer(granted.reply_to, Permits(granted.count))

    def _set_limit(self, ctx: Context, value: bytes | None) -> None:
        try:
            rate = self._rate if value is None else read_limit(value).per_second
        except ValueError:
            found = (value or b"")[:100].decode("utf-8", "replace")
            ctx.note("limit_invalid", key=self._key, found=found, advice=f"{RATE_FORM}, or 0 or pause")
        else:
            self._limit = rate
            self._adjust(ctx)
            shown = "none" if rate is None else show_rate(rate)
            ctx.note("limit_set", rate=shown, source="config" if value is None else self._key)
        self._open = True

    def _see_room(self, ctx: Context, free: float) -> None:
        noted = self._room.see(free)
        if noted is not None:
            ctx.note(noted, free=round(free, 3))
        self._adjust(ctx)

    def _adjust(self, ctx: Context) -> None:
        share = self._room.share
        self._bucket.set_rate(None if self._limit is None else self._limit * share, ctx.now())
        if share > 0.0:
            self._bucket.burst = self._burst * share

    async def _look_for_ever(self, ctx: Context) -> None:
        while True:
            pause = LOOK
            try:
                free = await within(PATIENCE, self._queue.headroom())
            except BackendError:
                pass  # what is known stays; that the queue is away is for its writer to say
            else:
                pause = next_look(free)
                if free != self._room.free:
                    await ctx.ref.send(RoomSeen(free))
            await asyncio.sleep(pause)

    async def _watch(self, ctx: Context, coordination: Coordination) -> None:
        outage = Outage(ctx, "coordination", self._backoff)
        index = 0
        while True:
            entry: Entry | None
            entry, seen = await outage.call(partial(coordination.watch, self._key, index, WATCH))
            if seen != index:
                index = seen
                await ctx.ref.send(LimitChanged(None if entry is None else entry.value))
