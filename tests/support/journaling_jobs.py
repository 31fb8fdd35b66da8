"""Handlers that write down what they do: the module that test runtimes name under `workers.handlers`.

HANDLED names the journal. `work` takes some time, `thread` too but in a thread, `flaky` fails at its first attempt.
"""

import asyncio
import os
import time
from pathlib import Path
from random import Random

from forebay import JobContext, RetryPolicy, job
from forebay.scenarios.journal import Journal
from forebay.scenarios.ledger import note_finished, note_started

journal = Journal(Path(os.environ["HANDLED"]))


def seconds(context: JobContext) -> float:
    """How long this job takes: the same at each attempt."""
    return Random(context.id).uniform(0.02, 0.2)


@job("work")
async def work(context: JobContext) -> None:
    note_started(journal, context.id)
    await asyncio.sleep(seconds(context))
    note_finished(journal, context.id)


@job("thread")
def thread(context: JobContext) -> None:
    note_started(journal, context.id)
    time.sleep(seconds(context))
    note_finished(journal, context.id)


@job("flaky", retry=RetryPolicy(max_attempts=5, base=0.05, cap=0.2))
async def flaky(context: JobContext) -> None:
    note_started(journal, context.id)
    await asyncio.sleep(seconds(context))
    if context.attempt == 1:
        raise ConnectionError("the first attempt fails")
    note_finished(journal, context.id)


@job("slow")
async def slow(context: JobContext) -> None:
    """Takes as many seconds as its arguments say."""
    note_started(journal, context.id)
    await asyncio.sleep(context.args["seconds"])
    note_finished(journal, context.id)


@job("hangs")
def hangs(context: JobContext) -> None:
    """Blocks its thread, which nothing can cancel."""
    note_started(journal, context.id)
    time.sleep(context.args["seconds"])
