"""The connection of one topic to its log: one client, one fetch at a time, its own liveness probe."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import define, frozen

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.exits import Exit
from forebay.actors.relay.messages import BrokerGone, Missed, MorePartitions, Progress, Pull, Pulled
from forebay.actors.relay.replies import answer
from forebay.actors.waiting import until
from forebay.actors.within import within
from forebay.backends.errors import Unavailable
from forebay.backends.ports import Extent, Log, LogConnection, OutOfRange, Record, Want

FETCH_WAIT: Final = 5.0
"""Seconds that one fetch waits for records."""

COMMIT_INTERVAL: Final = 5.0
"""Seconds between commits of the relay's progress; they are advisory."""

LAST_COMMIT: Final = 1.0
"""Seconds that the last commit may take when the actor ends."""

Found = Mapping[int, Sequence[Record] | OutOfRange]


@frozen
class CommitDue:
    """Commit what has progressed."""


@define(eq=False)
class Waiting:
    """A pull that has no answer yet. `owed_since`: when a probe first saw that there is one (monotonic seconds)."""

    pull: Pull
    owed_since: float | None = None


class KafkaConnection(Actor[Pull | Progress | CommitDue]):
    """Answers each `Pull` with `Pulled` or `Missed`; the last pull of a partition counts.

    Exits with `BrokerGone` when the log is `Unavailable`, when a probe has had no answer for `silence_limit` seconds, or
    when a pull that could be answered has not been for as long: a client can stop consuming without a word (aiokafka
    issues 983, 1154). A partition that the log says it cannot give is waited for beside the others, noted once as
    `partition_away` with the reason, and as `partition_back` with the seconds between. Probes every `probe_interval`
    seconds, and tells `topic_lock`, if there is one to tell, when a probe finds more than `partitions`.
    """

    def __init__(
        self,
        *,
        topic: str,
        log: Log,
        probe_interval: float,
        silence_limit: float,
        partitions: int = 0,
        topic_lock: str | None = None,
    ) -> None:
        self._topic = topic
        self._log = log
        self._partitions = partitions
        self._topic_lock = topic_lock
        self._probe_interval = probe_interval
        self._silence_limit = silence_limit
        self._waiting: dict[int, Waiting] = {}
        self._pulled = asyncio.Event()
        self._lingering: asyncio.Task[Found] | None = None
        self._away: dict[int, float] = {}  # partition -> since when it is held up (monotonic seconds)
        self._progress: dict[int, int] = {}
        self._opened: LogConnection | None = None

    async def on_start(self, ctx: Context) -> None:
        connected = False
        try:
            await within(self._silence_limit, self._connect())
            connected = True
        except Unavailable as error:
            raise BrokerGone(f"no connection to topic {self._topic!r}: {error}") from error
        finally:
            if not connected and self._opened is not None:  # it opened just as this start was cancelled
                await self._opened.close()
        ctx.run("fetch", self._fetch_for_ever(ctx))
        ctx.run("probe", self._probe_for_ever(ctx))
        ctx.every("commit", COMMIT_INTERVAL, CommitDue())

    async def on_message(self, ctx: Context, message: Pull | Progress | CommitDue) -> None:
        if isinstance(message, Pull):
            self._waiting[message.partition] = Waiting(message)
            self._pulled.set()
            if self._lingering is not None:
                self._lingering.cancel()  # it waits without this want; positions are explicit, so nothing is lost
        elif isinstance(message, Progress):
            self._progress[message.partition] = message.next
        elif self._progress and not ctx.running("commit"):
            ctx.run("commit", self._commit(COMMIT_INTERVAL))

    async def on_stop(self, ctx: Context, exit_: Exit) -> None:  # noqa: ARG002 - every end is alike
        ctx.cancel("fetch")
        await self._commit(LAST_COMMIT)
        await self._connection.close()

    async def _connect(self) -> None:
        self._opened = await self._log.connect(self._topic)

    @property
    def _connection(self) -> LogConnection:
        assert self._opened is not None
        return self._opened

    # --- fetching

    async def _fetch_for_ever(self, ctx: Context) -> None:
        try:
            while True:
                if not self._waiting:
                    await self._pulled.wait()
                await self._fetch(ctx)
        except Unavailable as error:
            raise BrokerGone(f"fetching from topic {self._topic!r}: {error}") from error

    async def _fetch(self, ctx: Context) -> None:
        """Take what is there for all who wait; only if there is nothing, wait for it.

        A fetch that would return at once is never interrupted, or a stream of pulls could keep one from its answer.
        """
        self._pulled.clear()
        waiting = dict(self._waiting)
        wants = {partition: Want(held.pull.offset, held.pull.max_records) for partition, held in waiting.items()}
        found = await self._connection.fetch(wants, 0.0)
        self._note_held_up(ctx)
        if not found and not self._pulled.is_set():
            found = await self._linger(wants)
        for partition, records in found.items():
            if self._waiting.get(partition) is waiting[partition]:
                del self._waiting[partition]
                self._answer(waiting[partition].pull, records)

    def _note_held_up(self, ctx: Context) -> None:
        held_up = self._connection.held_up
        for partition in sorted(held_up.keys() - self._away.keys()):
            self._away[partition] = ctx.now()
            ctx.note("partition_away", partition=partition, why=held_up[partition])
        for partition in sorted(self._away.keys() - held_up.keys()):
            seconds = ctx.now() - self._away.pop(partition)
            ctx.note("partition_back", partition=partition, seconds=round(seconds, 3))

    async def _linger(self, wants: Mapping[int, Want]) -> Found:
        """Fetch until there is something, the time is up or somebody else pulls."""
        self._lingering = asyncio.get_running_loop().create_task(self._until_found(wants))
        try:
            await until(self._lingering)
        finally:
            lingering, self._lingering = self._lingering, None
            lingering.cancel()
        return {} if lingering.cancelled() else lingering.result()

    async def _until_found(self, wants: Mapping[int, Want]) -> Found:
        return await self._connection.fetch(wants, FETCH_WAIT)

    @staticmethod
    def _answer(pull: Pull, found: Sequence[Record] | OutOfRange) -> None:
        if isinstance(found, OutOfRange):
            answer(pull.reply_to, Missed(pull.partition, pull.offset, found.extent))
        else:
            answer(pull.reply_to, Pulled(pull.partition, pull.offset, found))

    # --- liveness

    async def _probe_for_ever(self, ctx: Context) -> None:
        answered = ctx.now()
        while True:
            await asyncio.sleep(self._probe_interval)
            left = answered + self._silence_limit - ctx.now()
            try:
                extents = await within(max(left, 0.0), self._connection.extents())
            except Unavailable as error:
                if ctx.now() - answered >= self._silence_limit:
                    silence = f"no broker of topic {self._topic!r} for {self._silence_limit:g} s"
                    raise BrokerGone(f"{silence}: {error}") from error
            else:
                answered = ctx.now()
                self._look_for_stalled(answered, extents)
                if self._topic_lock is not None and len(extents) > self._partitions:
                    answer(ctx.lookup(self._topic_lock), MorePartitions(len(extents)))

    def _look_for_stalled(self, now: float, extents: Mapping[int, Extent]) -> None:
        for partition, waiting in self._waiting.items():
            extent = extents.get(partition)
            if extent is None or waiting.pull.offset == extent.end or partition in self._away:
                waiting.owed_since = None
            elif waiting.owed_since is None:
                waiting.owed_since = now
            elif now - waiting.owed_since >= self._silence_limit:
                raise BrokerGone(
                    f"{self._topic}/{partition}: nothing came from offset {waiting.pull.offset} for"
                    f" {now - waiting.owed_since:g} s, and the log holds {extent.start} to {extent.end}"
                )

    # --- progress

    async def _commit(self, limit: float) -> None:
        offsets, self._progress = self._progress, {}
        if offsets:
            try:
                await within(limit, self._connection.commit(offsets))
            except Unavailable:
                self._progress = offsets | self._progress  # the next commit brings it
