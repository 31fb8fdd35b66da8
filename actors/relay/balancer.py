"""Gives topics up where this instance holds more than its share of them (row R13)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Never

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.relay.messages import HandOver
from forebay.actors.relay.outage import RETRY, Outage
from forebay.actors.relay.ranking import Spread, spread
from forebay.actors.relay.replies import answer
from forebay.backends.ports import Coordination
from forebay.config.values import Backoff

LOOK: Final = 10.0
"""Seconds between looks at how the topics are spread; one topic at a time is given up."""

AGAIN: Final = 600.0
"""Seconds after which a topic that came back is given up again: those that live may be unable to take it."""


class Balancer(Actor[Never]):
    """Tells a `topic_lock` to hand its topic over when this instance was found to hold more than an even share, twice
    running: what follows the start or the end of an instance settles by itself first.

    A topic that nobody else takes comes back after a moment, and is left alone until other instances live, or for AGAIN
    seconds. `topic_lock` says where the lock of a topic stands in the tree. While coordination is away it waits.
    """

    def __init__(
        self, coordination: Coordination, instance: str, topic_lock: Callable[[str], str], *, backoff: Backoff = RETRY
    ) -> None:
        self._coordination = coordination
        self._instance = instance
        self._topic_lock = topic_lock
        self._backoff = backoff
        self._living: frozenset[str] = frozenset()
        self._given: dict[str, float] = {}
        self._was_over = False

    async def on_start(self, ctx: Context) -> None:
        """Begin to look."""
        ctx.run("balance", self._balance(ctx))

    async def _balance(self, ctx: Context) -> None:
        outage = Outage(ctx, "coordination", self._backoff)
        while True:
            await asyncio.sleep(LOOK)
            self._look(ctx, await outage.call(partial(spread, self._coordination)))

    def _look(self, ctx: Context, found: Spread) -> None:
        if found.living != self._living:
            self._living, self._was_over = found.living, False
            self._given.clear()
        over = found.over(self._instance)
        ripe = [topic for topic in over if self._given.get(topic, -AGAIN) + AGAIN <= ctx.now()]
        if ripe and self._was_over:
            self._given[ripe[0]] = ctx.now()
            why = f"this instance holds {len(over)} of {len(found.holders)} topics, and {len(found.living)} instances live"
            answer(ctx.lookup(self._topic_lock(ripe[0])), HandOver(why))
        self._was_over = bool(over)
