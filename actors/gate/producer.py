"""The producer: every record that the gate accepts goes through here into the log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.exits import Exit, Normal, Shutdown
from forebay.actors.gate.messages import Append
from forebay.actors.ref import Caller
from forebay.actors.within import within
from forebay.backends.errors import AcksNotOffered, BackendError, Full, RecordTooLarge, UnknownPartition, UnknownTopic
from forebay.backends.ports import Acks, Log, NewRecord

_REFUSED_WHOLE: Final = (UnknownTopic, UnknownPartition, RecordTooLarge)
"""What `Log.append` raises before anything is written."""

LIMIT: Final = 30.0
"""Seconds after which a write without an answer is given up. Adapters have shorter limits: this is for one that hangs."""


@frozen
class _Pending:
    records: tuple[NewRecord, ...]
    size: int
    caller: Caller | None

    @property
    def abandoned(self) -> bool:
        return self.caller is not None and self.caller.future.done()

    def reply(self, offsets: tuple[int, ...]) -> None:
        if self.caller is not None:
            self.caller.reply(offsets)

    def fail(self, error: BackendError) -> None:
        if self.caller is not None:
            self.caller.fail(error)


_Lane = tuple[Acks, frozenset[tuple[str, int]]]
"""Appends that share a write: of one level of acks, and to the same partitions where these can be away one by one."""


def _take(waiting: deque[_Pending], most: int) -> list[_Pending]:
    """The next appends, together at most `most` bytes, or one."""
    batch: list[_Pending] = []
    while waiting and (not batch or waiting[0].size <= most):
        batch.append(waiting.popleft())
        most -= batch[-1].size
    return batch


class Producer(Actor[Append]):
    """Gathers concurrent appends of one level of acks into one `Log.append`, one at a time and in order of arrival. Where
    partitions can be away one by one (`apart`), only appends to the same ones share it: one that takes nothing holds up
    only what is for it.

    An answer is what the log said, never more: its errors reach whoever asked, nothing is tried again in silence. Who has
    stopped waiting before his turn came is passed over. A write that the log leaves without an answer for `limit` seconds
    ends as `UnknownOutcome`, and the next one begins. At most `max_pending_bytes` and `max_pending_records` are held, those
    being written included, or one append if it is larger; one too many is answered with `Full`. A write is at most
    `max_batch_bytes`, or one append.
    """

    def __init__(
        self,
        *,
        log: Log,
        apart: bool,
        max_pending_bytes: int = 64 * 2**20,
        max_pending_records: int = 100_000,
        max_batch_bytes: int = 8 * 2**20,
        limit: float = LIMIT,
    ) -> None:
        self._log = log
        self._apart = apart
        self._limit = limit
        self._max_bytes = max_pending_bytes
        self._max_records = max_pending_records
        self._max_batch = max_batch_bytes
        self._bytes = 0
        self._records = 0
        self._lanes: dict[_Lane, deque[_Pending]] = {}
        self._writes = 0
        self._empty = asyncio.Event()
        self._empty.set()

    async def on_message(self, ctx: Context, message: Append) -> None:
        """Queue an append, or refuse it. What is known not to be offered is refused; a log that is away knows nothing."""
        for topic in {record.topic for record in message.records}:
            if message.acks not in (self._log.offers(topic) or Acks):
                ctx.fail(AcksNotOffered(topic, message.acks.value))
                return
        size, count = message.size, len(message.records)
        if self._records and (self._bytes + size > self._max_bytes or self._records + count > self._max_records):
            ctx.fail(Full(f"the producer holds {self._records} records, {self._bytes} bytes; try again in a moment"))
            return
        self._bytes += size
        self._records += count
        self._empty.clear()
        places = message.records if self._apart else ()
        lane = message.acks, frozenset((record.topic, record.partition) for record in places)
        pending = _Pending(message.records, size, ctx.caller())
        if lane in self._lanes:
            self._lanes[lane].append(pending)
            return
        self._lanes[lane] = deque([pending])
        self._writes += 1
        ctx.run(f"write {self._writes}", self._write(lane))

    async def on_stop(self, ctx: Context, exit_: Exit) -> None:  # noqa: ARG002 - what was accepted is still answered
        """After an orderly request to stop, finish what is held."""
        if isinstance(exit_, Normal | Shutdown):
            await self._empty.wait()

    async def _write(self, lane: _Lane) -> None:
        """Write what waits in a lane, and then close it."""
        acks, _ = lane
        while batch := _take(self._lanes[lane], self._max_batch):
            await self._append([pending for pending in batch if not pending.abandoned], acks)
            self._release(batch)
        del self._lanes[lane]

    async def _append(self, batch: Sequence[_Pending], acks: Acks) -> None:
        records = tuple(record for pending in batch for record in pending.records)
        try:
            offsets = iter(await within(self._limit, self._log.append(records, acks)) if records else ())
        except _REFUSED_WHOLE as error:
            await self._isolate(batch, acks, error)
        except BackendError as error:
            for pending in batch:
                pending.fail(error)
        else:
            for pending in batch:
                pending.reply(tuple(next(offsets) for _ in pending.records))

    async def _isolate(self, batch: Sequence[_Pending], acks: Acks, error: BackendError) -> None:
        """One append spoils the batch: halve it until that one is alone, so that its neighbours get through."""
        if len(batch) == 1:
            batch[0].fail(error)
            return
        middle = len(batch) // 2
        await self._append(batch[:middle], acks)
        await self._append(batch[middle:], acks)

    def _release(self, batch: Sequence[_Pending]) -> None:
        self._bytes -= sum(pending.size for pending in batch)
        self._records -= sum(len(pending.records) for pending in batch)
        if not self._records and not any(self._lanes.values()):
            self._empty.set()
