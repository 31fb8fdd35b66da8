"""Holds the leases of a pool of slots, and records what became of their jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from forebay.actors.actor import Actor
from forebay.actors.cell import Down
from forebay.actors.context import Context
from forebay.actors.exits import Exit, Normal, Shutdown, describe
from forebay.actors.mailbox import ActorStopped, MailboxFull
from forebay.actors.work.messages import Assignment, Claimed, Enrol, Enrolled, Finished, LeaseLost, SlotStarted
from forebay.actors.work.refusals import Refusals
from forebay.actors.work.topic_lease import TopicLease
from forebay.backends.errors import BackendError, Unavailable
from forebay.backends.ports import Outcome, Queue, Release, Retry
from forebay.backends.wakeups import Waiter
from forebay.config.values import Backoff
from forebay.jobs.ids import new_ulid

BATCH: Final = 1000
"""Outcomes recorded in one call."""

IN_A_STOP: Final = 0.1
"""Seconds that outcomes wait in a stop before they are sent again."""

ANY_SEQUENCE: Final = 2**53 - 1
"""A sequence that no claim call reaches."""

LAPSED: Final = "its lease lapsed: the queue did not answer for as long as it lasts"
"""What is kept as the error of a run that was given up for that."""


@frozen
class Lapsed:
    """Neither claim nor renewal has come through for as long as a lease lasts."""

    topic: str


@frozen
class SlotOver:
    """A slot has ended, and what it had said before has been read."""

    down: Down


class LeaseKeeper(Actor[Enrol | SlotStarted | Claimed | Finished | Down | SlotOver | Lapsed]):
    """One life of a worker pool, as the queues see it (rows Q2, Q6).

    `routes` says which queue holds which topic; `instance` names this process; `ttl` (seconds) is how long a job is held
    without a renewal. The worker's name is new in each incarnation: what an earlier one held lapses and is reaped.

    While jobs of a topic are held, its lease is renewed every `ttl` / 3. A job that the queue no longer counts as ours is
    lost, and so is every job when the lease has lapsed by our clock, counted from when it was last asked for: the slot is
    told to stop. What has lapsed is given up as a failed attempt too, or a queue that comes back before it has reaped it
    would hold it for us with the next renewal.

    Outcomes wait for an absent queue as long as it takes, and are sent again within `ttl` / 6. At a stop all are recorded,
    at once if the queue is there, and claims that nobody received go back; the child spec needs `drain=True`, so that what
    the slots said last is read first.

    Renewals never name the last sequence received, which the queue takes as leave to give later claims back: they run
    beside the dispatcher's calls, and one that is overtaken by a claim's answer would take back jobs that run already.
    Nothing needs it: a claim whose answer was lost is repeated, by the dispatcher or by its successor, and at the end of a
    life, when no dispatcher is left, the last renewal does name it.
    """

    def __init__(self, *, routes: Mapping[str, Queue], instance: str, ttl: float, backoff: Backoff) -> None:
        self._routes = routes
        self._instance = instance
        self._ttl = ttl
        self._backoff = backoff
        self._patience = ttl / 6  # seconds between calls to an absent queue at the most
        self._refusals = Refusals()
        self._leases = {topic: TopicLease(topic) for topic in routes}
        self._over: dict[str, int] = {}  # per slot the newest incarnation that is known to have ended
        self._downs: dict[int, Down] = {}  # per monitor an end whose `SlotOver` is on its way
        self._worker = ""

    async def on_start(self, ctx: Context) -> None:
        """Choose a name and begin to look after every topic."""
        self._worker = f"{self._instance}.{ctx.incarnation}.{new_ulid(ctx.wall(), ctx.random)}"
        for lease in self._leases.values():
            ctx.run(f"renew {lease.topic}", self._renew(ctx, lease))
            ctx.run(f"record {lease.topic}", self._record(ctx, lease))

    async def on_message(
        self, ctx: Context, message: Enrol | SlotStarted | Claimed | Finished | Down | SlotOver | Lapsed
    ) -> None:
        """Keep the books; the tasks beside do the talking to the queues."""
        match message:
            case Finished(topic=topic, outcome=outcome):
                self._finished(ctx, self._leases[topic], outcome)
            case Claimed(worker=worker) if worker == self._worker:
                self._claimed(ctx, message)
            case Enrol():
                ctx.reply(Enrolled(self._worker, {lease.topic: lease.received for lease in self._leases.values()}))
            case SlotStarted(slot=slot, incarnation=incarnation):
                self._slot_started(ctx, slot, incarnation)
            case Down():
                self._downs[message.monitor] = message
                ctx.run(f"down {message.monitor}", self._behind_the_mail(ctx, message))
            case SlotOver(down=down):
                self._slot_down(ctx, down)
            case Lapsed(topic=topic):
                self._lapsed(ctx, self._leases[topic])

    async def on_stop(self, ctx: Context, exit_: Exit) -> None:
        """Record what is still to be recorded; at an orderly end give back what was claimed and never received."""
        for down in tuple(self._downs.values()):
            self._slot_down(ctx, down)
        self._patience = IN_A_STOP
        for lease in self._leases.values():
            lease.pause.wake()
        for lease in self._leases.values():
            await lease.recorded.wait()
        if isinstance(exit_, Normal | Shutdown):
            for topic, lease in self._leases.items():
                # a queue that is away or refuses now lets the lease lapse by itself
                with contextlib.suppress(BackendError):
                    await self._routes[topic].renew(topic, self._worker, lease.received, self._ttl)

    # --- books

    def _claimed(self, ctx: Context, claimed: Claimed) -> None:
        lease = self._leases[claimed.topic]
        lease.received = max(lease.received, claimed.sequence)
        for release in claimed.returned:
            lease.give_back(release)
        for assignment in claimed.assignments:
            if assignment.incarnation <= self._over.get(assignment.slot, 0):
                lease.give_back(Release(assignment.id, assignment.epoch))  # it never reached the slot
            else:
                lease.take(assignment)
        self._extend(ctx, lease, claimed.sent + self._ttl)
        if lease.until <= ctx.now():
            self._lapsed(ctx, lease)

    def _finished(self, ctx: Context, lease: TopicLease, outcome: Outcome) -> None:
        if not lease.end(outcome):
            ctx.note("outcome_unknown", topic=lease.topic, job=outcome.id, outcome=type(outcome).__name__)

    def _slot_started(self, ctx: Context, slot: str, incarnation: int) -> None:
        self._slot_over(ctx, slot, incarnation - 1, "the worker slot crashed")
        try:
            ctx.monitor(ctx.lookup(slot))
        except LookupError:  # taken out of the tree since
            self._slot_over(ctx, slot, incarnation, None)

    @staticmethod
    async def _behind_the_mail(ctx: Context, down: Down) -> None:
        """A `Down` overtakes what the slot said last: its outcomes, which are in the mailbox, are to be read first."""
        with contextlib.suppress(ActorStopped):  # the stop has closed the mailbox; on_stop, which comes last, sees to it
            await ctx.ref.send(SlotOver(down))

    def _slot_down(self, ctx: Context, down: Down) -> None:
        self._downs.pop(down.monitor, None)
        orderly = isinstance(down.exit, Normal | Shutdown)
        error = None if orderly else f"the worker slot crashed ({describe(down.exit)})"
        self._slot_over(ctx, down.path, down.incarnation, error)

    def _slot_over(self, ctx: Context, slot: str, incarnation: int, error: str | None) -> None:
        """Incarnations of a slot have ended: what they ran may be tried again (`error`), or was not begun (None)."""
        self._over[slot] = max(incarnation, self._over.get(slot, 0))
        for lease in self._leases.values():
            for gone in lease.forget(lambda a: a.slot == slot and a.incarnation <= incarnation):
                lease.give_back(_outcome(gone, error))
                if error is not None:
                    ctx.note("job_interrupted", topic=lease.topic, job=gone.id, slot=slot)

    def _lapsed(self, ctx: Context, lease: TopicLease) -> None:
        """The queue may still count these jobs as ours, and would for as long as we claim and renew others: give them up."""
        lost = lease.forget(lambda _: True)
        self._lose(ctx, lease, lost)
        for assignment in lost:
            lease.give_back(_outcome(assignment, LAPSED))

    def _lose(self, ctx: Context, lease: TopicLease, lost: Sequence[Assignment]) -> None:
        for assignment in lost:
            ctx.note("lease_lost", topic=lease.topic, job=assignment.id, slot=assignment.slot)
            # a slot that cannot take the message has ended, or its outcome will be refused
            with contextlib.suppress(ActorStopped, MailboxFull, LookupError):
                ctx.lookup(assignment.slot).tell(LeaseLost(lease.topic, assignment.id, assignment.epoch))

    def _extend(self, ctx: Context, lease: TopicLease, until: float) -> None:
        """A claim or renewal sent a `ttl` before `until` has come through."""
        if until > lease.until:
            lease.until = until
            ctx.timer(f"lapse {lease.topic}", max(0.0, until - ctx.now()), Lapsed(lease.topic))

    # --- tasks, one of each per topic

    async def _renew(self, ctx: Context, lease: TopicLease) -> None:
        failures, what = 0, f"renew {lease.topic}"
        while True:
            if not self._refusals.refused(what):  # else it is tried on, to learn when it is refused no more
                await lease.occupied.wait()
            sent, known = ctx.now(), frozenset(lease.running)
            renewal = self._routes[lease.topic].renew(lease.topic, self._worker, ANY_SEQUENCE, self._ttl)
            try:
                held = await self._refusals.ask(ctx, what, renewal)
            except Unavailable:
                failures += 1
                await asyncio.sleep(min(self._backoff.delay(failures, ctx.random), self._patience))
                continue
            failures = 0
            self._extend(ctx, lease, sent + self._ttl)
            gone = known - held
            self._lose(ctx, lease, lease.forget(lambda a, gone=gone: (a.id, a.epoch) in gone))  # type: ignore[misc]
            await asyncio.sleep(self._ttl / 3)

    async def _record(self, ctx: Context, lease: TopicLease) -> None:
        failures = 0
        while True:
            await lease.unrecorded.wait()
            batch = lease.batch(BATCH)
            recording = self._routes[lease.topic].end(lease.topic, self._worker, batch)
            try:
                accepted = await self._refusals.ask(ctx, f"end {lease.topic}", recording)
            except Unavailable:
                failures += 1
                lease.pause = Waiter()
                await lease.pause.wait(min(self._backoff.delay(failures, ctx.random), self._patience))
                continue
            lease.done(batch)
            self._note_recorded(ctx, lease.topic, batch, accepted, repeated=failures > 0)
            failures = 0

    @staticmethod
    def _note_recorded(
        ctx: Context, topic: str, batch: Sequence[Outcome], accepted: Sequence[bool], *, repeated: bool
    ) -> None:
        """One event per batch. What a repeated call refuses may have been recorded by the call before it."""
        judged = zip(batch, accepted, strict=True)
        kinds = Counter(type(outcome).__name__.lower() if ok else "refused" for outcome, ok in judged)
        ctx.note("recorded", topic=topic, repeated=repeated, **dict(sorted(kinds.items())))


def _outcome(gone: Assignment, error: str | None) -> Outcome:
    if error is None:
        return Release(gone.id, gone.epoch)
    return Retry(gone.id, gone.epoch, 0.0, error)
