"""The consumer of one partition, of the topic or of its retry topic: pull, decode, take permits, write, and again.

One batch at a time.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from attrs import frozen

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.relay.detour import LogTime, name_aside, read_job, seconds_until_due
from forebay.actors.relay.log_check import LogCheck
from forebay.actors.relay.messages import (
    BatchWritten,
    CutAt,
    Locate,
    Located,
    Missed,
    Permits,
    Progress,
    Pull,
    Pulled,
    Rewind,
    Take,
    Term,
    Write,
)
from forebay.backends.ports import Extent, ParkedRecord, QueuedJob, Record
from forebay.jobs import Undecodable
from forebay.jobs.lanes import retry_mark

TRUNCATED_RETRY: Final = 1.0
"""Seconds between looks whether a log that was cut below our mark has grown back."""


LOOK_AGAIN: Final = 5.0
"""Seconds without records after which the queue is asked for its mark again."""

CHECK_PATIENCE: Final = 10.0
"""Seconds after which a checkpoint's record that does not come is taken for gone: at the end of a log nobody answers."""

CHECK_INTERVAL: Final = 60.0
"""Seconds between looks whether the log still is the one that was read, while no records come that would show it."""


class Step(enum.Enum):
    """What the consumer waits for."""

    LOCATED = "located"
    CHECKED = "checked"
    CUT = "cut"
    RECORDS = "records"
    PERMITS = "permits"
    WRITTEN = "written"


@frozen
class PullAgain:
    """Look once more: at a log that ended below our mark, or at a job of the retry lane whose time had not come."""


@frozen
class CheckLate:
    """The record that a checkpoint tells of has not come: the log ends before it."""

    offset: int

    @property
    def extent(self) -> Extent:
        """What the log then holds, as far as that is known."""
        return Extent(0, self.offset)


@frozen
class LookAgain:
    """Nothing has come for a while: ask whether the queue still stands where it was."""


Message = Located | Pulled | Missed | Permits | BatchWritten | Rewind | PullAgain | LookAgain | CheckLate


class PartitionConsumer(Actor[Message]):
    """Moves one partition's records into the queue, in order, from where the queue's mark stands.

    Every answer is compared with what was asked for last, so one that was meant for an earlier incarnation does nothing.
    A record that can never be a job is parked with the reason, one that the log cannot read by its place. Offsets
    that the log no longer holds are skipped by a range without jobs, which keeps the marks contiguous, and noted: `gap` for
    records removed in between, `expired` for those that retention took before they were relayed.

    The mark's checkpoints are compared with the log at the start, when a record comes from another leader than the one
    before it, when the log ends below the mark (noted as `truncated`), and now and then when nothing comes. If the log is
    another from some place on, the mark goes back there, noted as `diverged`. Without checkpoints the consumer waits for a
    log that was cut to reach the mark again.

    A record that is stamped as a shadow is read like any other and then left out of its range (row R9); noted as `shadowed`
    when the range is written. With `retry` it is the retry topic's partition, and waits for the time of each job there.
    """

    def __init__(
        self,
        *,
        term: Term,
        partition: int,
        batch: int,
        rate_limiter: str,
        kafka_connection: str,
        redis_writer: str,
        settled_marks: str,
        retry: bool = False,
    ) -> None:
        self._term = term
        self._partition = partition
        self._mark = retry_mark(partition) if retry else partition
        self._retry = retry
        self._log_time = LogTime()
        self._batch = batch
        self._rate_limiter = rate_limiter
        self._kafka_connection = kafka_connection
        self._redis_writer = redis_writer
        self._settled_marks = settled_marks
        self._step = Step.LOCATED
        self._next = 0
        self._known = True
        self._looking = False
        self._truncated = False
        self._cut: Extent | None = None
        self._epoch: int | None = None
        self._check: LogCheck | None = None
        self._checked_at = 0.0
        self._write: Write | None = None

    async def on_start(self, ctx: Context) -> None:
        await self._locate(ctx)

    async def on_message(self, ctx: Context, message: Message) -> None:
        match message, self._step:
            case Located(), Step.LOCATED | Step.RECORDS:
                await self._located(ctx, message)
            case Pulled() | Missed() | CheckLate(), Step.CHECKED if self._check and message.offset == self._check.offset:
                await self._compared(ctx, self._check, message)
            case Pulled(offset=offset, records=records), Step.RECORDS if offset == self._next:
                await self._take(ctx, records)
            case Missed(offset=offset), Step.RECORDS if offset == self._next:
                await self._missed(ctx, message)
            case Permits(count=count), Step.PERMITS if self._write and count == len(self._write.records):
                await self._send_write(ctx)
            case BatchWritten(next=place), Step.WRITTEN if self._write and place == self._write.to:
                self._known = True
                if shadows := len(self._write.records) - len(self._write.items):
                    ctx.note("shadowed", partition=self._partition, records=shadows)
                await ctx.lookup(self._kafka_connection).send(Progress(self._partition, place))
                await self._pull(ctx, place)
            case Rewind(next=place), Step.WRITTEN | Step.CUT:
                await self._go_back(ctx, place)
            case PullAgain() | LookAgain(), Step.RECORDS:
                await self._again(ctx, message)

    async def _again(self, ctx: Context, message: PullAgain | LookAgain) -> None:
        if isinstance(message, PullAgain):
            await self._pull(ctx, self._next)
        else:
            self._looking = True
            await self._locate(ctx)

    async def _locate(self, ctx: Context) -> None:
        await ctx.lookup(self._settled_marks).send(Locate(self._mark, ctx.ref))

    async def _start_over(self, ctx: Context) -> None:
        """Ask for the mark and its checkpoints, compare them with the log, and go on from there."""
        self._step = Step.LOCATED
        await self._locate(ctx)

    async def _go_back(self, ctx: Context, place: int) -> None:
        if self._step is Step.CUT:
            await self._start_over(ctx)
        else:
            ctx.note("rewound", partition=self._partition, from_=self._next, to=place)
            self._known = True  # a write of before took effect late: what it left must not be begun again if it gets lost
            await self._pull(ctx, place)

    async def _located(self, ctx: Context, found: Located) -> None:
        if self._step is Step.LOCATED:
            await self._begin(ctx, found)
        elif self._looking:
            await self._relocated(ctx, found)

    async def _begin(self, ctx: Context, found: Located) -> None:
        cut, self._cut = self._cut, None
        self._known = found.next is not None
        self._next = found.next or 0
        reach = self._next  # checkpoints beyond the mark tell of what had ended there before the queue forgot
        if cut is None and found.checkpoints:
            reach = max(reach, found.checkpoints[-1].offset + 1)
        end = reach if cut is None else min(reach, cut.end)
        if any(one.offset < end for one in found.checkpoints):
            self._check = LogCheck(reach, found.checkpoints, cut)
            await self._look(ctx, self._check)
        elif cut is not None and found.checkpoints:
            await self._return_to(ctx, cut.start)
        elif cut is not None:
            self._step = Step.RECORDS
            ctx.timer("again", TRUNCATED_RETRY, PullAgain())
        else:
            await self._pull(ctx, self._next)

    async def _relocated(self, ctx: Context, found: Located) -> None:
        """Go back with a queue that has lost its newest jobs, which nobody would notice while no new ones come."""
        place = found.next
        if place == self._next and found.checkpoints and ctx.now() - self._checked_at >= CHECK_INTERVAL:
            await self._begin(ctx, found)
        elif place == self._next or (place is None and not self._known):
            self._look_later(ctx)
        else:
            ctx.note("rewound", partition=self._partition, from_=self._next, to=place)
            self._known = place is not None
            await self._pull(ctx, place or 0)

    def _look_later(self, ctx: Context) -> None:
        self._looking = False
        ctx.timer("look", LOOK_AGAIN, LookAgain())

    async def _pull(self, ctx: Context, offset: int) -> None:
        self._step, self._next, self._write = Step.RECORDS, offset, None
        self._look_later(ctx)
        await ctx.lookup(self._kafka_connection).send(Pull(self._partition, offset, self._batch, ctx.ref))

    # --- whether the log still is the one that was read

    async def _look(self, ctx: Context, check: LogCheck) -> None:
        self._step = Step.CHECKED
        if check.offset >= self._next:
            ctx.timer("check", CHECK_PATIENCE, CheckLate(check.offset))
        await ctx.lookup(self._kafka_connection).send(Pull(self._partition, check.offset, 1, ctx.ref))

    async def _compared(self, ctx: Context, check: LogCheck, found: Pulled | Missed | CheckLate) -> None:
        to = check.saw(found.records[0]) if isinstance(found, Pulled) else check.missed(found.extent)
        if to is None:
            await self._look(ctx, check)
        elif to < check.mark:
            await self._return_to(ctx, to)
        else:
            self._checked_at = ctx.now()
            if self._epoch is None and isinstance(found, Pulled):
                self._epoch = found.records[0].epoch
            await self._pull(ctx, self._next)

    async def _return_to(self, ctx: Context, to: int) -> None:
        ctx.note("diverged", partition=self._partition, mark=self._next, to=to)
        self._step = Step.CUT
        await ctx.lookup(self._redis_writer).send(CutAt(self._mark, to, ctx.ref))

    def _of_another_leader(self, record: Record) -> bool:
        """Whether the record before, which we have moved, may be another now; asked once for each leader."""
        before, self._epoch = self._epoch, record.epoch
        return self._known and before not in (None, record.epoch)

    # --- moving records

    async def _take(self, ctx: Context, records: Sequence[Record]) -> None:
        self._truncated = False
        if self._of_another_leader(records[0]):
            await self._start_over(ctx)
            return
        if self._retry:
            now, first = self._log_time.after(records, ctx.now()), records[0]
            records = tuple(takewhile(lambda record: not seconds_until_due(record, now), records))
            if not records:
                ctx.timer("again", seconds_until_due(first, now), PullAgain())
                return
        self._epoch = records[-1].epoch
        to = records[-1].offset + 1
        if missing := to - self._next - len(records):
            ctx.note("gap", partition=self._partition, from_=self._next, to=to, records=missing)
        items = [item for record in records if (item := read(record)) is not None]
        self._write = Write(self._mark, self._next, to, items, ctx.ref, records, begins=not self._known)
        self._step = Step.PERMITS
        await ctx.lookup(self._rate_limiter).send(Take(len(records), ctx.ref))

    async def _send_write(self, ctx: Context) -> None:
        assert self._write is not None
        self._step = Step.WRITTEN
        await ctx.lookup(self._redis_writer).send(self._write)

    async def _missed(self, ctx: Context, missed: Missed) -> None:
        start = missed.extent.start
        if self._next > missed.extent.end:
            if not self._truncated:
                self._truncated = True
                ctx.note("truncated", partition=self._partition, mark=self._next, end=missed.extent.end)
            self._cut = missed.extent
            await self._start_over(ctx)
        elif self._known and self._next < start:
            ctx.note("expired", partition=self._partition, from_=self._next, to=start, records=start - self._next)
            self._write = Write(self._mark, self._next, start, (), ctx.ref)
            await self._send_write(ctx)
        else:
            await self._pull(ctx, start)


def read(record: Record) -> QueuedJob | ParkedRecord | None:
    """Return the job in a record, its arguments untouched, or the record parked with the reason why there is none.

    None for a shadow.
    """
    if record.unreadable:
        return name_aside(record, record.unreadable)
    try:
        job = read_job(record)
    except Undecodable as error:
        return ParkedRecord(record.offset, error.reason, record.value, record.headers)
    if job.shadow:
        return None
    return QueuedJob(
        offset=job.offset,
        id=job.id,
        type=job.type,
        args=job.args,
        enqueued_at=job.enqueued_at,
        not_before=job.not_before,
        dedup=job.dedup,
        headers=job.headers,
    )
