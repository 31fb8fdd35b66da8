"""Takes back the jobs of workers that have gone silent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.work.sweep import Pace, sweep
from forebay.backends.ports import Queue
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

    async def on_start(self, ctx: Context) -> None:
        """Begin, one task per topic."""
        for topic, queue in self._routes.items():
            note = partial(_note, ctx, topic)
            ctx.run(f"reap {topic}", sweep(ctx, partial(queue.reap, topic), self._pace, self._backoff, note))


def _note(ctx: Context, topic: str, count: int) -> None:
    ctx.note("reaped", topic=topic, count=count)
