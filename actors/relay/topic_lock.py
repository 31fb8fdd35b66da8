"""The holder of a topic's lock: it alone begins terms, and ends with the lock (design: Terms; rows R1-R3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from attrs import evolve, frozen

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.exits import ActorError, Exit, Failed, Normal, Shutdown, SupervisorStopped, describe
from forebay.actors.relay.campaign import WATCH, Campaign, Candidacy, Held, RankDelay, lock_key
from forebay.actors.relay.messages import HandedOver, HandOver, LockLost, MorePartitions, QueueForgot, Term, TermRefused
from forebay.actors.relay.outage import RETRY, Outage
from forebay.actors.within import within
from forebay.backends.errors import BackendError, SessionGone, StaleToken, Unavailable
from forebay.backends.ports import Coordination, Queue, Token
from forebay.config.values import Backoff
from forebay.jobs.lanes import MAX_PARTITIONS

TERM: Final = "term"
"""The id of the child that `term_spec` describes."""

LET_GO: Final = 1.0
"""Seconds that giving the lock back may take when the actor ends."""


async def at_once() -> float:
    """The rank delay of an instance that is alone."""
    return 0.0


def generation_key(topic: str) -> str:
    """Return the key of a topic's generation, the upper half of its tokens."""
    return f"forebay/generations/{topic}"


class TermEnded(ActorError):
    """The term ended by itself: its own restart budget is used up. A bug, so this counts against the relay's."""


@frozen
class TrustEnds:
    """No renewal has succeeded for so long that another may hold the lock by now."""


class TopicLock(Actor[TermRefused | TrustEnds | MorePartitions | HandOver]):
    """Waits for the lock, plants the fence, starts the term beside itself, and exits when it may hold the lock no longer.

    It trusts the lock until `min(ttl, lock_delay)` seconds after its last successful renewal was sent (`ttl` where there
    is no lock delay: then the fence alone keeps two terms apart), and renews three times in that span. Exits: `LockLost`;
    `QueueForgot`; `HandedOver`, when it was told to; `TermEnded`, the only one that is a bug.

    `term_spec` makes the spec of a temporary child with id "term"; it is started anew for each incarnation of this actor.
    A topic that turns out to have more than `partitions` in the log (another process is configured with more) is relayed
    whole: `prepare` makes what lies beside it as large, and the term starts anew under the same lock. Noted as
    `partitions_grown`; as `partitions_left`, once, when it cannot be done, which is then tried again.

    `rank_delay` says (in seconds) how long a free lock is left to the instances that should have it before this one.
    """

    def __init__(
        self,
        *,
        topic: str,
        partitions: int,
        coordination: Coordination,
        queue: Queue,
        ttl: float,
        lock_delay: float,
        instance: str,
        term_spec: Callable[[Term], Any],
        prepare: Callable[[int], Awaitable[None]],
        rank_delay: RankDelay = at_once,
        backoff: Backoff = RETRY,
    ) -> None:
        self._candidacy = Candidacy(topic, instance, ttl, lock_delay, rank_delay)
        self._configured = self._partitions = partitions
        self._prepare = prepare
        self._left = False
        self._coordination = coordination
        self._queue = queue
        self._term_spec = term_spec
        self._backoff = backoff
        self._trust = min(ttl, lock_delay) if lock_delay > 0 else ttl
        self._key = lock_key(topic)
        self._token: Token | None = None
        self._campaign: Campaign
        self._outage: Outage

    async def on_start(self, ctx: Context) -> None:
        self._outage = Outage(ctx, "coordination", self._backoff)
        self._campaign = Campaign(ctx, self._coordination, self._candidacy, self._outage)
        ctx.run("term", self._hold(ctx))

    async def on_message(self, ctx: Context, message: TermRefused | TrustEnds | MorePartitions | HandOver) -> None:
        if isinstance(message, MorePartitions):
            wanted = min(message.partitions, MAX_PARTITIONS)
            if wanted > self._partitions and not ctx.running("grow"):
                ctx.run("grow", self._grow(ctx, wanted))
            return
        if isinstance(message, HandOver):
            if self._token is not None and not ctx.running("hand over"):
                ctx.run("hand over", self._hand_over(ctx, message.why))
            return
        if isinstance(message, TrustEnds):
            raise LockLost(f"no renewal of the lock {self._key} succeeded for {self._trust:g} s")
        if message.token != self._token:
            return  # said of an earlier term
        if message.forgot:
            raise QueueForgot(message.why)
        raise LockLost(message.why)

    async def on_stop(self, ctx: Context, exit_: Exit) -> None:
        for task in ("term", "renew", "watch", "grow", "hand over"):
            ctx.cancel(task)
        session = self._campaign.session
        if session is None or not _harmless(exit_):
            return
        try:
            await within(LET_GO, self._let_go(session))
        except Unavailable as error:
            ctx.note("lock_not_released", key=self._key, why=str(error), advice="it lapses by itself")

    # --- the way to a term

    async def _hold(self, ctx: Context) -> None:
        held = await self._campaign.win()
        self._trust_from(ctx, held.renewed_at)
        ctx.run("renew", self._renew(ctx, held.session))
        ctx.run("watch", self._watch(held))
        term = await self._plant(ctx, held)
        self._token = term.token
        ctx.note("term_begins", generation=term.token.generation, index=term.token.index, epoch=term.epoch)
        await self._preside(ctx, term)

    async def _plant(self, ctx: Context, held: Held) -> Term:
        """Install the fence, with a larger generation where the queue holds a fence above ours though the lock is ours."""
        wanted = self._candidacy
        outage = Outage(ctx, "queue", self._backoff)
        token = Token(await self._generation(), held.index)
        while True:
            try:
                planted = await outage.call(partial(self._queue.plant, wanted.topic, token))
            except StaleToken as stale:
                await self._verify(held)
                token = Token(_generation_of(stale.stored) + 1, held.index)
                await self._save_generation(ctx, token.generation)
            else:
                return Term(wanted.topic, self._partitions, token, held.session, planted.epoch)

    async def _preside(self, ctx: Context, term: Term) -> None:
        """Keep the term running while the lock is ours: with one that was stopped by request nobody would relay (R2)."""
        exit_: Exit = Shutdown()
        try:
            while isinstance(exit_, Shutdown):
                await ctx.supervisor.start_child(self._term_spec(evolve(term, partitions=self._partitions)))
                exit_ = await ctx.supervisor.child_ended(TERM)
        except SupervisorStopped:
            return  # it has stopped the term; our stop comes next
        except ActorError as error:
            raise TermEnded(f"the term of topic {term.topic!r} did not start: {error}") from error
        raise TermEnded(f"the term of topic {term.topic!r} ended by itself: {describe(exit_)}")

    # --- more partitions

    async def _grow(self, ctx: Context, found: int) -> None:
        """Relay so many partitions: the term is stopped, and `_preside` starts it anew with all of them."""
        try:
            await self._prepare(found)
        except BackendError as error:
            if not self._left:
                advice = f"have the topics beside it made with {found} partitions"
                ctx.note("partitions_left", from_=self._partitions, to=found, why=str(error), advice=advice)
            self._left = True
            return
        gate = f"its gate fills only {self._configured}"
        advice = f"set the topic's partitions to {found} in this process's configuration too: {gate}"
        ctx.note("partitions_grown", from_=self._partitions, to=found, advice=advice)
        self._partitions, self._left = found, False
        with suppress(ActorError):  # the term has just ended, or all is being stopped: the next one has them
            await ctx.supervisor.terminate_child(TERM)

    # --- another instance's share

    async def _hand_over(self, ctx: Context, why: str) -> None:
        """End the term in order; the lock goes back with our end, and the next candidacy leaves it to those with room."""
        ctx.cancel("term")  # it would begin the term anew
        ctx.cancel("grow")
        with suppress(ActorError):  # the term has just ended, or all is being stopped
            await ctx.supervisor.terminate_child(TERM)
        raise HandedOver(why)

    # --- generation

    async def _generation(self) -> int:
        entry = await self._outage.call(partial(self._coordination.get, generation_key(self._candidacy.topic)))
        return int(entry.value) if entry is not None and entry.value.isdigit() else 0

    async def _save_generation(self, ctx: Context, generation: int) -> None:
        key = generation_key(self._candidacy.topic)
        await self._outage.call(partial(self._coordination.put, key, str(generation).encode()))
        ctx.note("generation_raised", key=key, generation=generation)

    # --- keeping the lock

    def _trust_from(self, ctx: Context, sent: float) -> None:
        ctx.timer("trust", max(0.0, sent + self._trust - ctx.now()), TrustEnds())

    async def _renew(self, ctx: Context, session: str) -> None:
        pause = self._trust / 3
        while True:
            await asyncio.sleep(pause)
            sent = ctx.now()
            try:
                await self._coordination.renew_session(session)
            except SessionGone as error:
                raise LockLost(f"the session of the lock {self._key} has ended") from error
            except Unavailable:
                pause = self._trust / 12  # trust ends by its own timer
            else:
                pause = self._trust / 3
                self._trust_from(ctx, sent)

    async def _watch(self, held: Held) -> None:
        index = held.index
        while True:
            entry, index = await self._outage.call(partial(self._coordination.watch, self._key, index, WATCH))
            if entry is None or entry.session != held.session:
                raise LockLost(f"the lock {self._key} was taken away")

    async def _verify(self, held: Held) -> None:
        entry = await self._outage.call(partial(self._coordination.get, self._key))
        if entry is None or entry.session != held.session:
            raise LockLost(f"the lock {self._key} is not ours any more, and the queue holds a newer fence")

    # --- giving it back

    async def _let_go(self, session: str) -> None:
        await self._coordination.release(self._key, session)
        await self._coordination.destroy_session(session)


def _harmless(exit_: Exit) -> bool:
    """Whether nothing of our term can write any more, so that the next holder need not wait out the lock delay.

    A stop or a hand-over ends the term first; a queue that forgot refuses it. In all other ends the term may be running
    still, and what ends it must not wait for coordination; the next incarnation finds the lock in our name, and destroys its
    session.
    """
    if isinstance(exit_, Failed):
        return isinstance(exit_.error, TermEnded | QueueForgot | HandedOver)
    return isinstance(exit_, Normal | Shutdown)


def _generation_of(stored: object) -> int:
    assert isinstance(stored, Token)
    return stored.generation
