"""How long until the log's retention would delete a job that has not ended (row R15)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.relay.messages import Term
from forebay.actors.within import within
from forebay.backends.errors import BackendError
from forebay.backends.ports import Log, LogConnection, Mark, OutOfRange, Queue, Want

INTERVAL: Final = 60.0
"""Seconds between looks."""

PATIENCE: Final = 15.0
"""Seconds that one look may take."""

NEAR: Final = 0.1
"""The share of the retention that, when only so much is left, is an alert."""


@frozen
class LookDue:
    """Look again."""


@frozen
class Oldest:
    """The oldest record whose job has not ended, and its time in the log (Unix ms)."""

    partition: int
    offset: int
    timestamp: int


class RetentionWatch(Actor[LookDue]):
    """Notes `retention_left` every INTERVAL seconds: so many seconds until the log may delete the oldest record of the topic
    whose job has not ended, all of `retention` if there is none. A log deletes segments, so it is never sooner than that.

    The tree shows the newest figure. Notes `retention_near` once when less than NEAR of `retention` is left, and
    `retention_far` when more is again. While log or queue do not answer it says nothing: their outage is noted by those who
    need them.
    """

    def __init__(self, *, term: Term, queue: Queue, log: Log, retention: float) -> None:
        self._term = term
        self._queue = queue
        self._log = log
        self._retention = retention
        self._near = False

    async def on_start(self, ctx: Context) -> None:
        ctx.every("look", INTERVAL, LookDue())

    async def on_message(self, ctx: Context, message: LookDue) -> None:  # noqa: ARG002 - there is but one
        if not ctx.running("look"):
            ctx.run("look", self._look(ctx))

    async def _look(self, ctx: Context) -> None:
        try:
            oldest = await within(PATIENCE, self._oldest())
        except BackendError:
            return
        left = self._retention
        if oldest is not None:
            left = max(0.0, left - (ctx.wall() - oldest.timestamp) / 1000)
        ctx.note("retention_left", topic=self._term.topic, seconds=round(left, 3))
        ctx.show("all in the log has ended" if oldest is None else f"{_span(left)} until retention may delete a job")
        self._alert(ctx, oldest, left)

    def _alert(self, ctx: Context, oldest: Oldest | None, left: float) -> None:
        near = left < self._retention * NEAR
        if near and not self._near and oldest is not None:
            advice = "run more workers, or raise the topic's retention"
            ctx.note(
                "retention_near", partition=oldest.partition, offset=oldest.offset, seconds=round(left, 3), advice=advice
            )
        elif self._near and not near:
            ctx.note("retention_far", seconds=round(left, 3))
        self._near = near

    async def _oldest(self) -> Oldest | None:
        marks = await self._queue.marks(self._term.topic, self._term.token)
        connection = await self._log.connect(self._term.topic)
        try:
            return await _oldest(connection, marks)
        finally:
            await connection.close()


async def _oldest(connection: LogConnection, marks: Mapping[int, Mark]) -> Oldest | None:
    """Return the oldest of the first records of all partitions that have not ended."""
    wants: dict[int, Want] = {}
    for partition, extent in (await connection.extents()).items():
        begin = max(extent.start, marks[partition].settled if partition in marks else 0)
        if begin < extent.end:
            wants[partition] = Want(begin, 1)
    found: list[Oldest] = []
    while wants and (answers := await connection.fetch(wants, 0.0)):
        for partition, records in answers.items():
            del wants[partition]
            if not isinstance(records, OutOfRange):
                found.append(Oldest(partition, records[0].offset, records[0].timestamp))
    return min(found, key=lambda one: one.timestamp, default=None)


def _span(seconds: float) -> str:
    """A time by its two largest units, rounded down."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
