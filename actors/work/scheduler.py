"""Makes delayed and retrying jobs pending when they are due."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.work.sweep import Pace, sweep
from forebay.backends.ports import Queue
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

    async def on_start(self, ctx: Context) -> None:
        """Begin, one task per topic."""
        for topic, queue in self._routes.items():
            note = partial(_note, ctx, topic)
            ctx.run(f"promote {topic}", sweep(ctx, partial(queue.promote, topic), self._pace, self._backoff, note))


def _note(ctx: Context, topic: str, count: int) -> None:
    ctx.note("promoted", topic=topic, count=count)
