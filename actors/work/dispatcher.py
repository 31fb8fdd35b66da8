"""Claims jobs for free slots and hands them out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.exits import Exit, Normal, Shutdown
from forebay.actors.mailbox import ActorStopped, MailboxFull
from forebay.actors.work.messages import Assign, Assignment, Claimed, Enrol, Enrolled, Finished, ReportIn, SlotFree
from forebay.actors.work.refusals import Refusals
from forebay.actors.work.slot_pool import FreeSlot, SlotPool
from forebay.backends.errors import Unavailable
from forebay.backends.ports import Claim, Lease, Queue, Release
from forebay.config.values import Backoff

ENROL_TIMEOUT: Final = 10.0
"""Seconds that the lease keeper, which never waits, has to answer."""

WAIT: Final = 60.0
"""Seconds that one call waits for a job at most."""


class Source:
    """One queue and its topics. `unanswered` are the topics with a claim call whose answer is not known."""

    def __init__(self, queue: Queue, topics: Iterable[str]) -> None:
        self.queue = queue
        self.topics = deque(topics)
        self.unanswered = set(self.topics)
        self.waiting = f"wait for {', '.join(self.topics)}"
        self.failures = 0

    def round(self) -> list[str]:
        """The topics, beginning with another one each time."""
        self.topics.rotate(-1)
        return list(self.topics)


class Dispatcher(Actor[SlotFree]):
    """Brings jobs to free slots, topic by topic in turn (rows Q5, Q6).

    `routes` says which queue holds which topic, `keeper` and `slots` are paths, `ttl` (seconds) and `claim_limit` (jobs)
    bound one claim. Each queue is served by a task of its own, one call at a time, so one that is away holds up no other.
    Without a free slot nothing is asked of a queue; without a job there is one waiting call per queue.

    A crash loses no job and stops no handler. A claim is known by (worker, sequence) and can be repeated: where an answer
    did not come, be it to this dispatcher or to the one before it, the call is repeated for no jobs, and what it had taken
    goes back. The keeper hears of every claim before a slot does.
    """

    def __init__(
        self,
        *,
        routes: Mapping[str, Queue],
        keeper: str,
        slots: Sequence[str],
        ttl: float,
        claim_limit: int,
        backoff: Backoff,
    ) -> None:
        self._keeper = keeper
        self._slots = tuple(slots)
        self._ttl = ttl
        self._claim_limit = claim_limit
        self._backoff = backoff
        self._sources = _by_queue(routes)
        self._refusals = Refusals()
        self._pool = SlotPool(len(self._sources))
        self._worker = ""
        self._received: dict[str, int] = {}
        self._leaving = False
        self._calls = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def on_start(self, ctx: Context) -> None:
        """Learn who we are and where the sequences stand, then ask every slot."""
        enrolled: Enrolled = await ctx.lookup(self._keeper).ask(Enrol(), ENROL_TIMEOUT)
        self._worker = enrolled.worker
        self._received = dict(enrolled.received)
        for slot in self._slots:
            await ctx.lookup(slot).send(ReportIn())
        for number, source in enumerate(self._sources):
            ctx.run(f"pull {number}", self._pull(ctx, source))

    async def on_message(self, ctx: Context, message: SlotFree) -> None:  # noqa: ARG002
        """A slot can take a job."""
        self._pool.add(message.slot, message.incarnation)

    async def on_stop(self, ctx: Context, exit_: Exit) -> None:  # noqa: ARG002
        """In order: let the calls under way come to an end, so that the keeper can give back what they took."""
        self._leaving = True
        if isinstance(exit_, Normal | Shutdown):
            await self._quiet.wait()

    # --- one task per queue

    async def _pull(self, ctx: Context, source: Source) -> None:
        while not self._leaving:
            try:
                await self._recover(ctx, source)
                await self._serve(ctx, source)
            except Unavailable:
                source.failures += 1
                await asyncio.sleep(self._backoff.delay(source.failures, ctx.random))

    async def _recover(self, ctx: Context, source: Source) -> None:
        for topic in sorted(source.unanswered):
            await self._claim(ctx, source, topic, 0)

    async def _serve(self, ctx: Context, source: Source) -> None:
        while not self._leaving:
            await self._pool.vacancy()
            if await self._round(ctx, source):
                self._refusals.over(ctx, source.waiting)
            else:
                await self._refusals.ask(ctx, source.waiting, source.queue.wait(tuple(source.topics), WAIT))

    async def _round(self, ctx: Context, source: Source) -> int:
        """Claim once from each topic while there are slots; return how many jobs came."""
        came = 0
        for topic in source.round():
            promised = self._pool.promise(self._claim_limit)
            try:
                if promised and not self._leaving:
                    came += await self._claim(ctx, source, topic, promised)
            finally:
                self._pool.redeem(promised)
        return came

    async def _claim(self, ctx: Context, source: Source, topic: str, limit: int) -> int:
        """Make the topic's next claim call and hand out up to `limit` jobs of what it brings; the rest goes back.

        All goes back if the answer took so long that the lease may have lapsed on its way.
        """
        lease, sent = Lease(self._worker, self._received[topic] + 1, self._ttl), ctx.now()
        source.unanswered.add(topic)
        claims = await self._refusals.ask(ctx, f"claim {topic}", self._call(source.queue, topic, lease, limit))
        if not self._leaving:
            fresh = ctx.now() < sent + self._ttl
            await self._hand_out(ctx, topic, sent, lease.sequence, claims, limit if fresh else 0)
            source.unanswered.discard(topic)
            source.failures = 0
        return len(claims)

    async def _call(self, queue: Queue, topic: str, lease: Lease, limit: int) -> Sequence[Claim]:
        self._calls += 1
        self._quiet.clear()
        try:
            return await queue.claim(topic, lease, limit)
        finally:
            self._calls -= 1
            if self._calls == 0:
                self._quiet.set()

    # --- handing out

    async def _hand_out(
        self, ctx: Context, topic: str, sent: float, sequence: int, claims: Sequence[Claim], limit: int
    ) -> None:
        slots = self._pool.take(min(len(claims), limit))
        given = tuple(zip(claims, slots, strict=False))
        claimed = Claimed(
            worker=self._worker,
            topic=topic,
            sequence=sequence,
            sent=sent,
            assignments=tuple(Assignment(slot.path, slot.incarnation, claim.id, claim.epoch) for claim, slot in given),
            returned=tuple(Release(claim.id, claim.epoch) for claim in claims[len(slots) :]),
        )
        keeper = ctx.lookup(self._keeper)
        await keeper.send(claimed)
        # From here to the end of the assignments nothing waits: the keeper's books and the slots' agree.
        self._received[topic] = sequence
        refused = [claim for claim, slot in given if not _assign(ctx, slot, claim)]
        for claim in refused:
            await keeper.send(Finished(topic, Release(claim.id, claim.epoch)))


def _assign(ctx: Context, slot: FreeSlot, claim: Claim) -> bool:
    try:
        ctx.lookup(slot.path).tell(Assign(slot.incarnation, claim))
    except (MailboxFull, ActorStopped, LookupError):
        return False
    return True


def _by_queue(routes: Mapping[str, Queue]) -> tuple[Source, ...]:
    """One source per queue object, in the order of the topics."""
    topics: dict[int, list[str]] = {}
    queues: dict[int, Queue] = {}
    for topic, queue in routes.items():
        queues[id(queue)] = queue
        topics.setdefault(id(queue), []).append(topic)
    return tuple(Source(queues[key], topics[key]) for key in queues)
