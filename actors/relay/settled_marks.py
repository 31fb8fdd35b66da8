"""Where a topic's partitions go on, and snapshots of what has ended for a queue that forgets (row R14; design: Marks)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from attrs import frozen

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.relay.log_writes import LOG_PATIENCE, strongest
from forebay.actors.relay.messages import Locate, Located, Term
from forebay.actors.relay.outage import RETRY, Outage
from forebay.actors.relay.replies import answer
from forebay.actors.relay.snapshots import KEYS, Damaged, Known, Snapshot, encode, read_newest
from forebay.actors.relay.term_queue import REFUSALS, TermQueue
from forebay.actors.within import within
from forebay.backends.checkpoints import Checkpoint
from forebay.backends.errors import BackendError, Unavailable
from forebay.backends.ports import Acks, Log, Mark, NewRecord, Queue, Record
from forebay.backends.settled import SPAN, Settled
from forebay.config.values import Backoff
from forebay.jobs.lanes import log_place, settled_topic

SNAPSHOT_INTERVAL: Final = 5.0
"""Seconds between looks at what has ended: what ends after the last snapshot runs again when the queue forgets."""

SNAPSHOT_REFRESH: Final = 600.0
"""Seconds after which a partition's snapshot is written again though nothing has changed."""


@frozen
class Sent:
    """A partition's newest snapshot, and when it was written (monotonic seconds)."""

    known: Known
    at: float


class SettledMarks(Actor[Locate]):
    """Answers each `Locate` by the queue's mark. Where the queue has none it is given what the newest snapshot knows;
    without a snapshot either, the partition begins at the log's oldest record.

    At its start, since earlier terms may have been short, and every SNAPSHOT_INTERVAL seconds what has ended is written to
    the topic `<topic>.settled`, as far as it has changed, with all the acks that the log offers there; while these cannot
    be had, with the leader's alone, and again until they can. What the queue was not given back yet is in it as known.
    While log or queue are away it waits, for ever. If the queue refuses the term, `topic_lock` is told and nobody is
    answered. Notes `restored`, `snapshot_damaged`, `snapshot_refused`, `settled_cut` (so many jobs have ended above one that
    has not that the snapshot leaves some out), and `queue_away`, `queue_back`, `log_away`, `log_back`.
    """

    def __init__(self, *, term: Term, queue: Queue, log: Log, topic_lock: str, backoff: Backoff = RETRY) -> None:
        self._term = term
        self._queue = queue
        self._log = log
        self._topic_lock = topic_lock
        self._backoff = backoff
        self._asked: asyncio.Queue[Locate] = asyncio.Queue()
        self._known: Known | None = None
        self._reading = asyncio.Lock()
        self._sent: dict[int, Sent] = {}
        self._turn = 0
        self._cut: frozenset[int] = frozenset()
        self._queue_of_term: TermQueue
        self._log_outage: Outage

    async def on_start(self, ctx: Context) -> None:
        self._queue_of_term = TermQueue(ctx, self._term, self._topic_lock, self._backoff)
        self._log_outage = Outage(ctx, "log", self._backoff)
        ctx.run("locate", self._locate_for_ever(ctx))
        ctx.run("snapshots", self._snapshot_for_ever(ctx))

    async def on_message(self, ctx: Context, message: Locate) -> None:  # noqa: ARG002 - the task answers
        self._asked.put_nowait(message)  # bounded by the consumers, each of which waits for its answer

    # --- where to go on

    async def _locate_for_ever(self, ctx: Context) -> None:
        while True:
            requests = [await self._asked.get()]
            while not self._asked.empty():
                requests.append(self._asked.get_nowait())
            try:
                marks = await self._marks()
                unknown = [request for request in requests if request.partition not in marks]
                for request in requests:
                    if request not in unknown:
                        mark = marks[request.partition]
                        answer(request.reply_to, Located(mark.next, mark.checkpoints))
                for request in unknown:
                    found = await self._restored(ctx, request.partition)
                    answer(request.reply_to, Located(None) if found is None else Located(found.next, found.checkpoints))
            except REFUSALS as refusal:
                await self._queue_of_term.refused(refusal)

    async def _restored(self, ctx: Context, partition: int) -> Mark | None:
        """Give the queue back what it knew of a partition, and return its mark; None if nobody knows."""
        known = await self._from_log(ctx)
        settled = known.settled.get(partition)
        if settled is None:
            return None
        term, points = self._term, {partition: known.checkpoints.get(partition, ())}
        restore = partial(self._queue.restore, term.topic, term.token, term.epoch, {partition: settled}, points)
        await self._queue_of_term.ask(restore)
        mark = (await self._marks())[partition]
        ctx.note("restored", partition=partition, next=mark.next, ended_above=settled.ended_above)
        return mark

    async def _from_log(self, ctx: Context) -> Known:
        """Return what the newest snapshots of earlier terms know; read once."""
        async with self._reading:
            if self._known is None:
                self._known = await self._log_outage.call(partial(self._read, ctx))
        return self._known

    async def _read(self, ctx: Context) -> Known:
        try:
            return await within(LOG_PATIENCE, read_newest(self._log, self._term.topic, partial(_note_damaged, ctx)))
        except Unavailable:
            raise
        except BackendError as error:
            raise Unavailable(f"it refuses the snapshots of topic {self._term.topic!r}: {error}") from error

    async def _marks(self) -> Mapping[int, Mark]:
        return await self._queue_of_term.ask(partial(self._queue.marks, self._term.topic, self._term.token))

    # --- snapshots

    async def _snapshot_for_ever(self, ctx: Context) -> None:
        while True:
            try:
                # The marks come before the ends: those that a cut voids in between are then checked, and not missed.
                marks = await self._marks()
                settled = await self._queue_of_term.ask(partial(self._queue.settled, self._term.topic, self._term.token))
            except REFUSALS as refusal:
                await self._queue_of_term.refused(refusal)
            else:
                self._note_cuts(ctx, settled)
                await self._write(ctx, self._due(ctx.now(), await self._from_log(ctx), marks, settled))
            await asyncio.sleep(SNAPSHOT_INTERVAL)

    def _due(
        self, now: float, known: Known, marks: Mapping[int, Mark], settled: Mapping[int, Settled]
    ) -> Mapping[int, Sent]:
        """By partition of the log, what is to be written."""
        due: dict[int, Sent] = {}
        for partition in {self._place(number): None for number in settled}:
            found = self._found(partition, known, marks, settled)
            last = self._sent.get(partition)
            if last is None or found != last.known or now - last.at >= SNAPSHOT_REFRESH:
                due[partition] = Sent(found, now)
        return due

    def _found(self, partition: int, known: Known, marks: Mapping[int, Mark], settled: Mapping[int, Settled]) -> Known:
        """What is known of both lanes of a partition of the log: by the queue, or else by what it will be given back."""
        points: dict[int, Sequence[Checkpoint]] = {
            n: mark.checkpoints for n, mark in marks.items() if self._place(n) == partition
        }
        ended = {n: _checked(one, points.get(n, ())) for n, one in settled.items() if self._place(n) == partition}
        rest = [n for n in known.settled if n not in ended and self._place(n) == partition]
        points |= {n: known.checkpoints[n] for n in rest if n in known.checkpoints}
        return Known(ended | {n: known.settled[n] for n in rest}, points)

    def _place(self, number: int) -> int:
        return log_place(self._term.topic, number)[1]

    async def _write(self, ctx: Context, due: Mapping[int, Sent]) -> None:
        if not due:
            return
        topic, key = settled_topic(self._term.topic), KEYS[self._turn]
        records = [
            NewRecord(topic, partition, encode(Snapshot(self._term.token, sent.known.settled, sent.known.checkpoints)), key)
            for partition, sent in due.items()
        ]
        try:
            kept = await self._append(topic, records)
        except BackendError as error:
            ctx.note("snapshot_refused", topic=topic, why=str(error))
        else:
            self._turn = 1 - self._turn
            if kept:
                self._sent |= due

    async def _append(self, topic: str, records: Sequence[NewRecord]) -> bool:
        """Return whether they have all the acks that the log offers there: nobody can read what a replica in sync lacks, and
        what the leader alone has goes with it. Where these cannot be had now, it has them alone.
        """
        wanted = strongest(self._log, topic)
        if wanted is Acks.ALL:
            with suppress(Unavailable):
                await within(LOG_PATIENCE, self._log.append(records, Acks.ALL))
                return True
        await self._log_outage.call(lambda: within(LOG_PATIENCE, self._log.append(records, Acks.LEADER)))
        return wanted is Acks.LEADER

    def _note_cuts(self, ctx: Context, settled: Mapping[int, Settled]) -> None:
        cut = frozenset(mark for mark, one in settled.items() if one.end - one.first == SPAN)
        for mark in sorted(cut - self._cut):
            ctx.note("settled_cut", partition=mark, low=settled[mark].low, end=settled[mark].end)
        self._cut = cut


def _checked(settled: Settled, checkpoints: Sequence[Checkpoint]) -> Settled:
    """Return what can be checked of `settled`: an end beyond the newest checkpoint could be that of a record which the log
    loses, and nothing would tell. Without a checkpoint nothing was written here yet.
    """
    return settled.below(checkpoints[-1].offset + 1) if checkpoints else settled


def _note_damaged(ctx: Context, record: Record, error: Damaged) -> None:
    ctx.note("snapshot_damaged", topic=record.topic, partition=record.partition, offset=record.offset, why=str(error))
