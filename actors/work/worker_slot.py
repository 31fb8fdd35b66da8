"""Runs jobs, one at a time."""

from __future__ import annotations

import asyncio
import enum
from typing import Final

import anyio
from attrs import define, field, frozen

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.exits import Exit, Normal, Shutdown
from forebay.actors.waiting import until
from forebay.actors.work.handling import HandlerCall, failed, run_handler
from forebay.actors.work.messages import Assign, Finished, LeaseLost, ReportIn, SlotFree, SlotStarted
from forebay.backends.ports import Claim, Dead, Done, Outcome, Release
from forebay.jobs.registry import HandlerSpec, Registry

CANCEL_PATIENCE: Final = 3.0
"""Seconds that a cancelled handler has to clean up before its job is recorded without waiting for it any longer."""


class Cause(enum.Enum):
    """Why a handler was told to end."""

    TIMED_OUT = "timed out"
    LEASE_LOST = "lease lost"
    STOPPED = "stopped"


@define(eq=False)
class Run:
    """One handler at work. `settled`: its outcome is told or forgotten already. `limit`: loop time of its time-out."""

    call: HandlerCall
    limit: float | None
    ended: asyncio.Future[None]
    begun: bool = False
    outcome: Outcome | None = None
    cause: Cause | None = None
    settled: bool = False

    @property
    def claim(self) -> Claim:
        """The job and its lease."""
        return self.call.claim

    @property
    def task(self) -> str:
        """The name of the task that the handler runs in."""
        return f"job {self.claim.topic} {self.claim.id} {self.claim.epoch}"

    @property
    def cancellable(self) -> bool:
        """Whether cancelling the task would reach the handler."""
        return self.begun and not self.call.in_thread and not self.ended.done()


@frozen
class Ended:
    """The handler has come to its end."""

    run: Run = field(repr=False)


@frozen
class TimeUp:
    """The handler has run for as long as its type may."""

    run: Run = field(repr=False)


@frozen
class Overdue:
    """The handler was cancelled some time ago and goes on."""

    run: Run = field(repr=False)


class WorkerSlot(Actor[Assign | ReportIn | LeaseLost | Ended | TimeUp | Overdue]):
    """One place where a job can run (rows Q2, Q6, Q8).

    `keeper` and `dispatcher` are paths, `threads` bounds plain handlers of all slots together. At a stop the handler has
    `drain` seconds to end, is then cancelled, and its job goes back with its attempt not counted. The child spec's
    `shutdown` must leave room for `drain` + `CANCEL_PATIENCE`.

    At its type's time-out a handler is cancelled and the run counts as a failed attempt. One that cannot be cancelled, a
    plain function in its thread, goes on: the outcome is recorded, a `handler_overdue` is noted, and the slot takes
    nothing new until that handler has really ended. No stop waits for it.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        threads: anyio.CapacityLimiter,
        keeper: str,
        dispatcher: str,
        drain: float,
    ) -> None:
        self._registry = registry
        self._threads = threads
        self._keeper = keeper
        self._dispatcher = dispatcher
        self._drain = drain
        self._run: Run | None = None

    async def on_start(self, ctx: Context) -> None:
        """Report to the keeper, and to the dispatcher if there is one yet."""
        await ctx.lookup(self._keeper).send(SlotStarted(ctx.path, ctx.incarnation))
        await self._report_free(ctx)

    async def on_message(self, ctx: Context, message: Assign | ReportIn | LeaseLost | Ended | TimeUp | Overdue) -> None:
        """One job at a time; everything else is about the one that runs."""
        match message:
            case Assign(incarnation=incarnation, claim=claim) if incarnation == ctx.incarnation:
                await self._take(ctx, claim)
            case ReportIn() if self._run is None:
                await self._report_free(ctx)
            case LeaseLost():
                self._lose(ctx, message)
            case Ended(run=run) if run is self._run:
                await self._ended(ctx, run)
            case TimeUp(run=run) if run is self._run:
                await self._time_up(ctx, run)
            case Overdue(run=run) if run is self._run:
                await self._overdue(ctx, run)

    async def on_stop(self, ctx: Context, exit_: Exit) -> None:
        """Let the handler end, or end it. After a crash the keeper learns from our `Down` what was running."""
        run = self._run
        if run is None:
            return
        if isinstance(exit_, Normal | Shutdown):
            await self._drain_out(ctx, run)
        run.cause = run.cause or Cause.STOPPED  # what the end of our tasks is about to do to it

    # --- taking a job

    async def _take(self, ctx: Context, claim: Claim) -> None:
        if self._run is not None:  # two reports of one freedom crossed an assignment
            await self._finish(ctx, claim, Release(claim.id, claim.epoch))
            return
        spec = self._registry.lookup(claim.type)
        if spec is not None and claim.attempt <= spec.retry.max_attempts:
            self._begin(ctx, spec, claim)
            return
        await self._finish(ctx, claim, Dead(claim.id, claim.epoch, _refusal(spec, claim)))
        await self._report_free(ctx)

    def _begin(self, ctx: Context, spec: HandlerSpec, claim: Claim) -> None:
        loop = asyncio.get_running_loop()
        limit = None if spec.timeout is None else loop.time() + spec.timeout
        run = self._run = Run(HandlerCall(spec, claim, self._threads), limit, loop.create_future())
        ctx.run(run.task, self._work(ctx, run))
        if spec.timeout is not None:
            ctx.timer("time-up", spec.timeout, TimeUp(run))

    @staticmethod
    async def _work(ctx: Context, run: Run) -> None:
        run.begun = True  # a task that is cancelled before its first step would never get here
        if run.cause is None:
            run.outcome = await run_handler(run.call, ctx.random, lambda: run.cause is not None)
        run.ended.set_result(None)
        ctx.timer("ended", 0.0, Ended(run))  # not a message: a stop that comes before it is read makes it void

    # --- its end

    async def _ended(self, ctx: Context, run: Run) -> None:
        ctx.cancel_timer("time-up")
        ctx.cancel_timer("overdue")
        self._run = None
        await self._settle(ctx, run)
        await self._report_free(ctx)

    async def _time_up(self, ctx: Context, run: Run) -> None:
        _interrupt(ctx, run, Cause.TIMED_OUT)
        if run.call.in_thread:
            await self._overdue(ctx, run)
        else:
            ctx.timer("overdue", CANCEL_PATIENCE, Overdue(run))

    async def _overdue(self, ctx: Context, run: Run) -> None:
        ctx.note("handler_overdue", topic=run.claim.topic, job=run.claim.id, type=run.claim.type)
        await self._settle(ctx, run)

    def _lose(self, ctx: Context, lost: LeaseLost) -> None:
        run = self._run
        if run is not None and (lost.topic, lost.id, lost.epoch) == (run.claim.topic, run.claim.id, run.claim.epoch):
            run.settled = True  # whatever the outcome, it would be refused
            _interrupt(ctx, run, Cause.LEASE_LOST)

    async def _drain_out(self, ctx: Context, run: Run) -> None:
        """Give the handler its time, then cancel it; a thread is left to itself."""
        clock = asyncio.get_running_loop().time
        end, cause = clock() + self._drain, Cause.STOPPED
        if run.settled:
            end = clock()
        elif run.limit is not None and run.limit < end:
            end, cause = run.limit, Cause.TIMED_OUT
        if not await until(run.ended, end):
            _interrupt(ctx, run, cause)
            if not run.call.in_thread:
                await until(run.ended, clock() + CANCEL_PATIENCE)
        await self._settle(ctx, run)

    async def _settle(self, ctx: Context, run: Run) -> None:
        """Tell the keeper what became of the job, once."""
        if not run.settled:
            run.settled = True
            await self._finish(ctx, run.claim, _outcome(ctx, run))

    # --- to others

    async def _finish(self, ctx: Context, claim: Claim, outcome: Outcome) -> None:
        await ctx.lookup(self._keeper).send(Finished(claim.topic, outcome))

    async def _report_free(self, ctx: Context) -> None:
        try:
            dispatcher = ctx.lookup(self._dispatcher)
        except LookupError:
            return  # it starts after us, and then asks
        await dispatcher.send(SlotFree(ctx.path, ctx.incarnation))


def _interrupt(ctx: Context, run: Run, cause: Cause) -> None:
    """Cancel the handler, once; the first cause stands."""
    if run.cause is None:
        run.cause = cause
        if run.cancellable:
            ctx.cancel(run.task)


def _outcome(ctx: Context, run: Run) -> Outcome:
    """What a run that has ended, or that is waited for no longer, means for its job.

    A handler that was interrupted and finished all the same is done; any other end of it is the interruption's.
    """
    claim = run.claim
    if run.outcome is not None and (run.cause is None or isinstance(run.outcome, Done)):
        return run.outcome
    if run.cause is Cause.TIMED_OUT:
        return failed(run.call, ctx.random, f"it ran longer than its type's time-out of {run.call.spec.timeout:g} s")
    return Release(claim.id, claim.epoch)


def _refusal(spec: HandlerSpec | None, claim: Claim) -> str:
    if spec is None:
        return (
            f"no handler for type {claim.type!r} is loaded; load the module that defines it (workers.handlers in the"
            " configuration), then resubmit the job"
        )
    return (
        f"attempt {claim.attempt} of {spec.retry.max_attempts}: its workers ended before it did, each time;"
        " it may be what ends them"
    )
