"""Ranges of one term into its queue: each once, and a job that the queue refuses goes another way (rows R5, R6).

A refusal that is none of the port's answers is taken for the fault of one job only when the queue takes a range without any:
what refuses everything is an outage, and is waited out. The range is then halved until the job is alone. It is appended to
the retry topic, or parked, and only then does the mark pass it: whatever stops the relay in between makes the job come
twice, under its own id, and never not at all. One that had ended before it came again goes no way at all: the queue, which
was told of its end when it had forgotten, may refuse it before it looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from attrs import frozen

from forebay.actors.context import Context
from forebay.actors.relay.detour import name_aside, put_back, set_aside
from forebay.actors.relay.log_check import last_of
from forebay.actors.relay.messages import Term
from forebay.actors.relay.outage import Outage
from forebay.actors.relay.term_queue import REFUSALS, TermQueue
from forebay.backends.errors import BackendError, JobTooLarge, MarkMismatch, Unavailable
from forebay.backends.ports import Acks, Log, ParkedRecord, Queue, QueuedJob, Record
from forebay.backends.settled import Settled
from forebay.config.values import Backoff

Item = QueuedJob | ParkedRecord

ANSWERS: Final = (*REFUSALS, MarkMismatch)
"""Refusals that speak of the whole range, and not of a job in it."""


@frozen
class Range:
    """What the mark of `partition` is to move over, from `start` to `to`; each item's record is among `records`.

    `begins`: the mark is not there yet.
    """

    partition: int
    start: int
    to: int
    items: Sequence[Item]
    records: Sequence[Record]
    begins: bool = False

    def halves(self) -> tuple[Range, Range]:
        """The range in two, each with an item at least; it has two itself."""
        half = len(self.items) // 2
        middle = self.items[half].offset
        return (
            Range(self.partition, self.start, middle, self.items[:half], self.records, self.begins),
            Range(self.partition, middle, self.to, self.items[half:], self.records),
        )


class RangeWriter:
    """What the writer knows of the queue is in `term_queue`. Notes `put_back` for each job that went back into the log,
    `parked` for records set aside, `log_away` and its end.
    """

    def __init__(
        self, ctx: Context, term: Term, queue: Queue, term_queue: TermQueue, log: Log, acks: Acks, backoff: Backoff
    ) -> None:
        self._ctx = ctx
        self._term = term
        self._queue = queue
        self._log = log
        self._acks = acks
        self._term_queue = term_queue
        self._log_outage = Outage(ctx, "log", backoff)
        self._ended: dict[int, Settled] = {}

    async def write(self, wanted: Range) -> None:
        """Return when the mark stands at `wanted.to`, however long that takes. Raises `ANSWERS`."""
        self._ended.pop(wanted.partition, None)  # a mark that went back took ends with it
        await self._write_in_parts(wanted)

    async def _write_in_parts(self, wanted: Range) -> None:
        try:
            await self._put(wanted, wanted.items)
        except ANSWERS:
            raise
        except BackendError as error:
            if len(wanted.items) > 1:
                for half in wanted.halves():
                    await self._write_in_parts(half)
            else:
                await self._divert(wanted, error)

    # --- one range

    async def _put(self, wanted: Range, items: Sequence[Item], *, last_resort: bool = False) -> None:
        """Write, as often as it takes. A try without an answer may have taken effect; the mark then tells.

        Raises what the queue has against one of the items; without any, or with `last_resort`, that is waited out.
        """
        tries = 0

        async def attempt() -> None:
            nonlocal tries
            tries += 1
            try:
                await self._write(wanted, wanted.to, items)
            except (Unavailable, *ANSWERS):
                raise
            except BackendError as error:
                if last_resort or not items:
                    raise Unavailable(f"it refuses a write that leaves it no choice: {error}") from error
                await self._blame(wanted)
                raise

        try:
            await self._term_queue.outage.call(attempt)
        except MarkMismatch as mismatch:
            if tries == 1 or mismatch.next != wanted.to:
                raise

    async def _blame(self, wanted: Range) -> None:
        """Return if the queue takes a range without items; else it is not they that it has something against."""
        try:
            await self._write(wanted, wanted.start, ())
        except (Unavailable, *ANSWERS):
            raise
        except BackendError as error:
            raise Unavailable(f"it refuses every write, also one without jobs: {error}") from error

    async def _write(self, wanted: Range, to: int, items: Sequence[Item]) -> None:
        term, partition, start = self._term, wanted.partition, wanted.start
        last = last_of(wanted.records, start, to)
        place = (term.topic, term.token, term.epoch, partition)
        written = await self._queue.write(*place, start, to, items, last, begins=wanted.begins)
        if written.parked:
            error = next(item.error for item in items if isinstance(item, ParkedRecord))
            self._ctx.note("parked", partition=partition, records=written.parked, error=error)

    # --- one job that is refused

    async def _divert(self, wanted: Range, error: BackendError) -> None:
        (item,) = wanted.items
        if await self._has_ended(wanted.partition, item.offset):
            await self._put(wanted, ())
            return
        record = next(record for record in wanted.records if record.offset == item.offset)
        why = str(error)
        if isinstance(item, ParkedRecord):
            await self._park(wanted, [name_aside(record, f"{item.error}; {why}")])
            return
        again = None if isinstance(error, JobTooLarge) else put_back(self._term.topic, record, why)
        if again is not None:
            try:
                await self._log_outage.call(partial(self._log.append, (again,), self._acks))
            except BackendError as refused:
                why = f"{why}; and the log refuses it: {refused}"
            else:
                await self._put(wanted, ())
                self._ctx.note("put_back", topic=record.topic, partition=record.partition, offset=record.offset, error=why)
                return
        await self._park(wanted, [set_aside(record, why), name_aside(record, why)])

    async def _has_ended(self, partition: int, offset: int) -> bool:
        """Asked once for a range: while it is written, nothing at or above its mark ends."""
        if partition not in self._ended:
            settled = await self._term_queue.ask(partial(self._queue.settled, self._term.topic, self._term.token))
            self._ended[partition] = settled.get(partition, Settled(0))
        return self._ended[partition].has_ended(offset)

    async def _park(self, wanted: Range, ways: Sequence[ParkedRecord]) -> None:
        """Park the job, with its bytes if the queue takes them."""
        *tried, last = ways
        for way in tried:
            try:
                await self._put(wanted, (way,))
            except ANSWERS:
                raise
            except BackendError:
                continue
            return
        await self._put(wanted, (last,), last_resort=True)
