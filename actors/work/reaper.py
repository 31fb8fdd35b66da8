"""Takes back the jobs of workers that have gone silent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.work.refusals import Refusals
from forebay.actors.work.sweep import Pace, sweep
from forebay.backends.ports import Moved, Queue
from forebay.config.values import Backoff


class Reaper(Actor[object]):
    """Makes the jobs of lapsed leases pending again, of every topic and whosever workers they were (row Q6).

    `pace` bounds the time between two calls per topic; with half a lease as the longest, a dead worker's job waits for at
    most one and a half leases.
    """

    def __init__(self, *, routes: Mapping[str, Queue], pace: Pace, backoff: Backoff) -> None:
        self._routes = routes
        self._pace = pace
        self._backoff = backoff
        self._refusals = Refusals()

    async def on_start(self, ctx: Context) -> None:
        """Begin, one task per topic."""
        for topic in self._routes:
            note = partial(_note, ctx, topic)
            ctx.run(f"reap {topic}", sweep(ctx, partial(self._reap, ctx, topic), self._pace, self._backoff, note))

    async def _reap(self, ctx: Context, topic: str, limit: int) -> Moved:
        return await self._refusals.ask(ctx, f"reap {topic}", self._routes[topic].reap(topic, limit))


def _note(ctx: Context, topic: str, count: int) -> None:
    ctx.note("reaped", topic=topic, count=count)
