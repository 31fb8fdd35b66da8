"""Where a topic's partitions go on, and snapshots of what has ended for a queue that forgets (row R14; design: Marks)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from attrs import frozen

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.relay.messages import Locate, Located, Term
from forebay.actors.relay.outage import RETRY, Outage
from forebay.actors.relay.replies import answer
from forebay.actors.relay.snapshots import KEYS, Damaged, Snapshot, encode, read_newest, settled_topic
from forebay.actors.relay.term_queue import REFUSALS, TermQueue
from forebay.actors.within import within
from forebay.backends.errors import BackendError, Unavailable
from forebay.backends.ports import Acks, Log, Mark, NewRecord, Queue, Record
from forebay.backends.settled import SPAN, Settled
from forebay.config.values import Backoff
from forebay.jobs.lanes import log_place

SNAPSHOT_INTERVAL: Final = 5.0
"""Seconds between looks at what has ended: what ends after the last snapshot runs again when the queue forgets."""

SNAPSHOT_REFRESH: Final = 600.0
"""Seconds after which a partition's snapshot is written again though nothing has changed."""

LOG_PATIENCE: Final = 15.0
"""Seconds that one try to read or write snapshots may take."""


@frozen
class Sent:
    """A partition's newest snapshot, and when it was written (monotonic seconds)."""

    settled: Mapping[int, Settled]
    at: float


class SettledMarks(Actor[Locate]):
    """Answers each `Locate` by the queue's mark. Where the queue has none it is given what the newest snapshot knows;
    without a snapshot either, the partition begins at the log's oldest record.

    Every SNAPSHOT_INTERVAL seconds what has ended is written to the topic `<topic>.settled`, as far as it has changed. While
    log or queue are away it waits, for ever. If the queue refuses the term, `topic_lock` is told and nobody is answered.
    Notes `restored`, `snapshot_damaged`, `snapshot_refused`, `settled_cut` (so many jobs have ended above one that has not
    that the snapshot leaves some out), and `queue_away`, `queue_back`, `log_away`, `log_back`.
    """

    def __init__(self, *, term: Term, queue: Queue, log: Log, topic_lock: str, backoff: Backoff = RETRY) -> None:
        self._term = term
        self._queue = queue
        self._log = log
        self._topic_lock = topic_lock
        self._backoff = backoff
        self._asked: asyncio.Queue[Locate] = asyncio.Queue()
        self._known: Mapping[int, Settled] | None = None
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
                    answer(request.reply_to, Located(await self._restored(ctx, request.partition)))
            except REFUSALS as refusal:
                await self._queue_of_term.refused(refusal)

    async def _restored(self, ctx: Context, partition: int) -> int | None:
        """Give the queue back what it knew of a partition, and return where that goes on; None if nobody knows."""
        if self._known is None:
            self._known = await self._log_outage.call(partial(self._read, ctx))
        settled = self._known.get(partition)
        if settled is None:
            return None
        term = self._term
        await self._queue_of_term.ask(partial(self._queue.restore, term.topic, term.token, term.epoch, {partition: settled}))
        place = (await self._marks())[partition].next
        ctx.note("restored", partition=partition, next=place, ended_above=settled.ended_above)
        return place

    async def _read(self, ctx: Context) -> Mapping[int, Settled]:
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
            await asyncio.sleep(SNAPSHOT_INTERVAL)
            try:
                settled = await self._queue_of_term.ask(partial(self._queue.settled, self._term.topic, self._term.token))
            except REFUSALS as refusal:
                await self._queue_of_term.refused(refusal)
            else:
                self._note_cuts(ctx, settled)
                await self._write(ctx, self._due(ctx.now(), settled))

    def _due(self, now: float, settled: Mapping[int, Settled]) -> Mapping[int, Sent]:
        """By partition of the log, what is to be written."""
        lanes: dict[int, dict[int, Settled]] = {}
        for mark, one in settled.items():
            lanes.setdefault(log_place(self._term.topic, mark)[1], {})[mark] = one
        never = Sent({}, now)
        last = {partition: self._sent.get(partition, never) for partition in lanes}
        return {
            partition: Sent(found, now)
            for partition, found in lanes.items()
            if found != last[partition].settled or now - last[partition].at >= SNAPSHOT_REFRESH
        }

    async def _write(self, ctx: Context, due: Mapping[int, Sent]) -> None:
        if not due:
            return
        topic, key = settled_topic(self._term.topic), KEYS[self._turn]
        records = [
            NewRecord(topic, partition, encode(Snapshot(self._term.token, sent.settled)), key)
            for partition, sent in due.items()
        ]
        try:
            await self._log_outage.call(lambda: within(LOG_PATIENCE, self._log.append(records, Acks.LEADER)))
        except BackendError as error:
            ctx.note("snapshot_refused", topic=topic, why=str(error))
        else:
            self._sent |= due
            self._turn = 1 - self._turn

    def _note_cuts(self, ctx: Context, settled: Mapping[int, Settled]) -> None:
        cut = frozenset(mark for mark, one in settled.items() if one.end - one.first == SPAN)
        for mark in sorted(cut - self._cut):
            ctx.note("settled_cut", partition=mark, low=settled[mark].low, end=settled[mark].end)
        self._cut = cut


def _note_damaged(ctx: Context, record: Record, error: Damaged) -> None:
    ctx.note("snapshot_damaged", topic=record.topic, partition=record.partition, offset=record.offset, why=str(error))
