"""The handler of simulated jobs: it takes its time, fails as often as it is told, and writes down each of its runs."""

from __future__ import annotations

import asyncio
from typing import Final

from forebay.jobs import JobContext, Registry, RetryPolicy
from forebay.scenarios.loop import running_loop
from forebay.scenarios.simulation.book import Book, Run

WORK: Final = "work"
"""The type of these jobs. Arguments: the `seconds` that a run takes, and how many runs are to fail, `fails`; else 0."""


class Failure(Exception):
    """What a run ends with that is to fail."""


def work_registry(book: Book, host: str, life: int, retry: RetryPolicy | None = None) -> Registry:
    """Return the handlers of one life of a host."""
    registry = Registry()

    @registry.job(WORK, retry=retry)
    async def work(job: JobContext) -> None:
        run = Run(job.id, host, life, job.attempt, running_loop().time())
        book.begin(run)
        failed = True
        try:
            await asyncio.sleep(job.args.get("seconds", 0.0))
            if job.attempt <= job.args.get("fails", 0):
                raise Failure(f"run {job.attempt} of {job.id} was to fail")
            failed = False
        finally:
            book.end(run, running_loop().time(), failed=failed)

    return registry
