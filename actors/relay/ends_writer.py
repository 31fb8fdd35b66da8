"""Ends other than done into the log, so that a queue that forgets does not lose them (rows R6, R14; design: Marks)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, Never

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.relay.log_writes import LOG_PATIENCE, strongest
from forebay.actors.relay.messages import Term
from forebay.actors.relay.outage import RETRY, Outage
from forebay.actors.relay.term_queue import REFUSALS, TermQueue
from forebay.actors.within import within
from forebay.backends.end_records import end_record, place_record
from forebay.backends.ends import End
from forebay.backends.errors import BackendError, RecordTooLarge
from forebay.backends.ports import Log, NewRecord, Queue
from forebay.config.values import Backoff
from forebay.jobs.lanes import ends_topic

LOOK: Final = 1.0
"""Seconds between looks for ends: those that a queue forgets before the next one come about again."""

BATCH: Final = 500
"""Ends that are written at a time."""


class EndsWriter(Actor[Never]):
    """Every LOOK seconds the jobs that died and the records that were parked since go to the topic `<topic>.ends`, with all
    the acks that the log offers there; only then are their offsets settled.

    An answer that was lost, or a stop in between, leaves an end there twice. One that the log finds too large goes there by
    its place. While log or queue are away it waits, for ever, and nobody waits for it. If the queue refuses the term,
    `topic_lock` is told. Notes `ends_refused` when the log refuses the ends, which are tried again at the next look, and
    `queue_away`, `queue_back`, `log_away`, `log_back`.
    """

    def __init__(self, *, term: Term, queue: Queue, log: Log, topic_lock: str, backoff: Backoff = RETRY) -> None:
        self._term = term
        self._queue = queue
        self._log = log
        self._topic_lock = topic_lock
        self._backoff = backoff
        self._term_queue: TermQueue
        self._log_outage: Outage

    async def on_start(self, ctx: Context) -> None:
        self._term_queue = TermQueue(ctx, self._term, self._topic_lock, self._backoff)
        self._log_outage = Outage(ctx, "log", self._backoff)
        ctx.run("ends", self._look_for_ever(ctx))

    async def _look_for_ever(self, ctx: Context) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                while await self._move():
                    pass
            except REFUSALS as refusal:
                await self._term_queue.refused(refusal)
            except BackendError as error:
                ctx.note("ends_refused", topic=ends_topic(self._term.topic), why=str(error))

    async def _move(self) -> bool:
        """Bring one batch into the log; return whether there was any. Raises `REFUSALS`, and what the log refuses with."""
        topic, token = self._term.topic, self._term.token
        ends = await self._term_queue.ask(partial(self._queue.unwritten, topic, token, BATCH))
        if not ends:
            return False
        await self._write(ends)
        await self._term_queue.ask(partial(self._queue.written, topic, token, ends))
        return True

    async def _write(self, ends: Sequence[End]) -> None:
        """Append them, in halves where one among them is too large."""
        try:
            await self._append([end_record(self._term.topic, end) for end in ends])
        except RecordTooLarge:
            if len(ends) == 1:
                await self._append([place_record(self._term.topic, ends[0])])
                return
            middle = len(ends) // 2
            await self._write(ends[:middle])
            await self._write(ends[middle:])

    async def _append(self, records: Sequence[NewRecord]) -> None:
        acks = strongest(self._log, ends_topic(self._term.topic))
        await self._log_outage.call(lambda: within(LOG_PATIENCE, self._log.append(records, acks)))
