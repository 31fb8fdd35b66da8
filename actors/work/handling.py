"""One run of a user's handler, and what its end means for the job.

An exception of a handler is the job's outcome and nothing else: it ends no actor. That is decided here, in the second of
the two places of the project that catch everything.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from random import Random

import anyio
import anyio.to_thread

from forebay.actors.work.failure import failure_text
from forebay.backends.ports import Claim, Dead, Done, Outcome, Retry
from forebay.jobs.context import Fail, JobContext, RetryAfter
from forebay.jobs.policy import MAX_CAP
from forebay.jobs.registry import HandlerSpec


class HandlerCall:
    """The call of one handler for one claim. Await `call` once, in a task of its own.

    A plain function runs in a thread, of which `threads` admits so many at once. No thread can be stopped from outside:
    while `in_thread` is true, cancelling the task only stops waiting for it.
    """

    def __init__(self, spec: HandlerSpec, claim: Claim, threads: anyio.CapacityLimiter) -> None:
        self.spec = spec
        self.claim = claim
        self.in_thread = False
        self._threads = threads

    async def call(self) -> None:
        """Run the handler to its end. Raises what it raises."""
        job = self._job()
        result = self.spec.function(job) if self.spec.is_async else await self._in_thread(job)
        if inspect.isawaitable(result):  # also from a plain function that wraps an async one
            await result

    async def _in_thread(self, job: JobContext) -> object:
        self.in_thread = True
        try:
            return await anyio.to_thread.run_sync(self.spec.function, job, limiter=self._threads, abandon_on_cancel=True)
        finally:
            self.in_thread = False

    def _job(self) -> JobContext:
        claim = self.claim
        return JobContext(
            id=claim.id,
            type=claim.type,
            attempt=claim.attempt,
            max_attempts=self.spec.retry.max_attempts,
            topic=claim.topic,
            raw=claim.args,
            enqueued_at=claim.enqueued_at,
            headers=claim.headers,
        )


async def run_handler(call: HandlerCall, random: Random, interrupted: Callable[[], bool]) -> Outcome | None:
    """Run the handler and return what became of the job; None if it was interrupted and did what it was told.

    `interrupted` says whether whoever owns this task has cancelled it; the owner then knows what the end means. A
    CancelledError of any other origin is the handler's own failure.
    """
    try:
        await call.call()
    except asyncio.CancelledError as error:
        return None if interrupted() else failed(call, random, failure_text(error))
    except (KeyboardInterrupt, GeneratorExit):
        raise  # not the handler's: the host program ends, or this coroutine is being thrown away
    except Fail as error:
        return Dead(call.claim.id, call.claim.epoch, failure_text(error))
    except RetryAfter as error:
        return failed(call, random, failure_text(error), min(error.seconds, MAX_CAP))
    except BaseException as error:  # noqa: BLE001 - a job's failure, sys.exit() included, becomes its outcome here
        return failed(call, random, failure_text(error))
    return Done(call.claim.id, call.claim.epoch)


def failed(call: HandlerCall, random: Random, error: str, delay: float | None = None) -> Retry | Dead:
    """Retry after `delay` seconds (by default the policy's), or the dead set if that was the last attempt allowed."""
    claim, policy = call.claim, call.spec.retry
    if policy.exhausted(claim.attempt):
        return Dead(claim.id, claim.epoch, error)
    if delay is None:
        delay = policy.delay(claim.attempt, random)
    return Retry(claim.id, claim.epoch, delay, error)
