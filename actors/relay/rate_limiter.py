"""The rate limiter: how many jobs a topic's relay may move, changed live (row R7)."""

from __future__ import annotations

import math
from collections import deque
from functools import partial
from typing import Final

from attrs import frozen

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.limits import limit_key, read_limit
from forebay.actors.relay.messages import Permits, Take
from forebay.actors.relay.outage import RETRY, Outage
from forebay.actors.relay.replies import answer
from forebay.actors.relay.token_bucket import TokenBucket
from forebay.backends.ports import Coordination, Entry
from forebay.config.units import RATE_FORM, show_rate
from forebay.config.values import Backoff

WATCH: Final = 300.0
"""Seconds that one watch waits for a change."""


@frozen
class LimitChanged:
    """What the watch saw; None: no limit is set there."""

    value: bytes | None


@frozen
class Due:
    """The first in line may have its permits now."""


class RateLimiter(Actor[Take | LimitChanged | Due]):
    """Grants permits first come, first served, at the rate that coordination holds, or else `rate` (jobs/s; None: no limit).

    `burst` (jobs) is what may be granted at once after a quiet time; see `TokenBucket` for larger takings. Fails closed:
    nothing is granted before the first look at coordination, nor while this actor is down. While coordination is away,
    and for a value that is no limit, the last known limit stays. Notes `limit_set` and `limit_invalid`.
    """

    def __init__(
        self,
        *,
        topic: str,
        rate: float | None,
        burst: float,
        coordination: Coordination | None,
        backoff: Backoff = RETRY,
    ) -> None:
        self._key = limit_key(topic)
        self._rate = rate
        self._burst = burst
        self._coordination = coordination
        self._backoff = backoff
        self._line: deque[Take] = deque()
        self._open = coordination is None
        self._bucket: TokenBucket

    async def on_start(self, ctx: Context) -> None:
        self._bucket = TokenBucket(self._rate, self._burst, ctx.now())
        if self._coordination is not None:
            ctx.run("watch", self._watch(ctx, self._coordination))

    async def on_message(self, ctx: Context, message: Take | LimitChanged | Due) -> None:
        if isinstance(message, Take):
            self._line.append(message)
        elif isinstance(message, LimitChanged):
            self._set_limit(ctx, message.value)
        self._grant(ctx)

    def _grant(self, ctx: Context) -> None:
        ctx.cancel_timer("due")
        while self._open and self._line:
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
            self._bucket.set_rate(rate, ctx.now())
            shown = "none" if rate is None else show_rate(rate)
            ctx.note("limit_set", rate=shown, source="config" if value is None else self._key)
        self._open = True

    async def _watch(self, ctx: Context, coordination: Coordination) -> None:
        outage = Outage(ctx, "coordination", self._backoff)
        index = 0
        while True:
            entry: Entry | None
            entry, seen = await outage.call(partial(coordination.watch, self._key, index, WATCH))
            if seen != index:
                index = seen
                await ctx.ref.send(LimitChanged(None if entry is None else entry.value))
