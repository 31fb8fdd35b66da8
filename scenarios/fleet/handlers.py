"""What a fleet's workers run: the module that members name under `workers.handlers`. HANDLED names the journal."""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path

from forebay.jobs import JobContext, RetryPolicy, job
from forebay.scenarios.journal import Journal
from forebay.scenarios.ledger import note_finished, note_started


@cache
def journal() -> Journal:
    """Return this process's journal, opened for its first job."""
    return Journal(Path(os.environ["HANDLED"]))


@job("work", retry=RetryPolicy(max_attempts=100, base=0.1, cap=1.0))
async def work(context: JobContext) -> None:
    """Take as many seconds as the arguments say, and write down when it starts and, as the last act, that it has ended."""
    note_started(journal(), context.id)
    await asyncio.sleep(context.args.get("seconds", 0))
    note_finished(journal(), context.id)
