"""Makes delayed and retrying jobs pending when they are due."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.work.refusals import Refusals
from forebay.actors.work.sweep import Pace, sweep
from forebay.backends.ports import Moved, Queue
from forebay.config.values import Backoff


class Scheduler(Actor[object]):
    """Promotes the due jobs of every topic (row Q2).

    `pace` bounds the time between two calls per topic: the shortest is the precision, the longest is how late a job may
    start that came in, with an earlier time than any before it, after the last call.
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
            ctx.run(f"promote {topic}", sweep(ctx, partial(self._promote, ctx, topic), self._pace, self._backoff, note))

    async def _promote(self, ctx: Context, topic: str, limit: int) -> Moved:
        return await self._refusals.ask(ctx, f"promote {topic}", self._routes[topic].promote(topic, limit))


def _note(ctx: Context, topic: str, count: int) -> None:
    ctx.note("promoted", topic=topic, count=count)
