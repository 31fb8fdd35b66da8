"""The writer of one term: batches into the queue, each range once, for as long as the term is the right one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.relay.messages import BatchWritten, CutAt, Rewind, Term, Write
from forebay.actors.relay.outage import RETRY
from forebay.actors.relay.range_writer import Item, Range, RangeWriter
from forebay.actors.relay.replies import answer
from forebay.actors.relay.term_queue import REFUSALS, TermQueue
from forebay.backends.errors import MarkMismatch
from forebay.backends.ports import Acks, Log, Queue, QueuedJob
from forebay.config.values import Backoff

MAX_JOBS: Final = 1000
"""Items in one write (design: Marks)."""

MAX_BYTES: Final = 1 << 20
"""Bytes in one write, unless a single item has more (design: Marks)."""


class RedisWriter(Actor[Write | CutAt]):
    """Serves `Write` and `CutAt`: those of one partition in order, those of different partitions side by side.

    While the queue is `Unavailable` or `Full` it holds what it has and tries for ever; consumers get no answer and stop
    pulling (row R5). If the queue refuses the term, `topic_lock` is told and the request stays without an answer: the
    term is about to end. A job that the queue has something against goes back into `log`, to the retry topic with `acks`,
    and is parked in the end (row R6); the rest of its range is written. Notes what `RangeWriter` and `TermQueue` do.
    """

    def __init__(self, *, term: Term, queue: Queue, log: Log, acks: Acks, topic_lock: str, backoff: Backoff = RETRY) -> None:
        self._term = term
        self._queue = queue
        self._log = log
        self._acks = acks
        self._topic_lock = topic_lock
        self._backoff = backoff
        self._lanes: dict[int, asyncio.Queue[Write | CutAt]] = {}
        self._term_queue: TermQueue
        self._ranges: RangeWriter

    async def on_start(self, ctx: Context) -> None:
        term, queue, log = self._term, self._queue, self._log
        self._term_queue = TermQueue(ctx, term, self._topic_lock, self._backoff)
        self._ranges = RangeWriter(ctx, term, queue, self._term_queue, log, self._acks, self._backoff)

    async def on_message(self, ctx: Context, message: Write | CutAt) -> None:
        lane = self._lanes.get(message.partition)
        if lane is None:
            lane = self._lanes[message.partition] = asyncio.Queue()
            ctx.run(f"partition {message.partition}", self._serve(lane))
        lane.put_nowait(message)  # bounded by its consumer, which waits for each answer

    async def _serve(self, lane: asyncio.Queue[Write | CutAt]) -> None:
        while True:
            request = await lane.get()
            try:
                reply = await (self._write(request) if isinstance(request, Write) else self._go_back(request))
            except REFUSALS as refusal:
                await self._term_queue.refused(refusal)
            else:
                answer(request.reply_to, reply)

    async def _write(self, request: Write) -> BatchWritten | Rewind:
        start = request.start
        for to, items in split(request.items, request.to):
            try:
                begins = request.begins and start == request.start
                await self._ranges.write(Range(request.partition, start, to, items, request.records, begins))
            except MarkMismatch as mismatch:
                return Rewind(request.partition, mismatch.next)
            start = to
        return BatchWritten(request.partition, request.to)

    async def _go_back(self, request: CutAt) -> Rewind:
        term = self._term
        back = partial(self._queue.rewind, term.topic, term.token, term.epoch, request.partition, request.to)
        await self._term_queue.ask(back)
        return Rewind(request.partition, request.to)


def split(items: Sequence[Item], to: int) -> Iterator[tuple[int, Sequence[Item]]]:
    """Cut a range, which ends at `to`, into writes of at most MAX_JOBS items and MAX_BYTES bytes, or one item.

    Yields the end of each and its items, in order; each begins where the one before ends.
    """
    begin = size = 0
    for position, item in enumerate(items):
        more = item_size(item)
        if position > begin and (position - begin == MAX_JOBS or size + more > MAX_BYTES):
            yield item.offset, items[begin:position]
            begin, size = position, 0
        size += more
    yield to, items[begin:]


def item_size(item: Item) -> int:
    """Return the bytes that an item brings: its content and its headers."""
    content = item.args if isinstance(item, QueuedJob) else item.value
    return len(content) + sum(len(name) + len(value) for name, value in item.headers)
