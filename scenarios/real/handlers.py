"""The handler of a scenario's jobs in a member of a real fleet: it does what the job says, and writes each run down.

The module that members name under `workers.handlers`. HANDLED names the journal, MEMBER the member, DOWNSTREAM the file that
says how what the handlers call fares.
"""

from __future__ import annotations

import asyncio
import json
import os
from functools import cache
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Final

from forebay.backends.clock import SystemClock
from forebay.jobs import JobContext, job
from forebay.scenarios.journal import Journal
from forebay.scenarios.replay.handling import RETRY, TYPE, DownstreamFailed
from forebay.scenarios.replay.scene import Downstream

BEGUN: Final = "begun"
ENDED: Final = "ended"
FAILED: Final = "failed"

_clock: Final = SystemClock()
_runs: Final = count()


@cache
def journal() -> Journal:
    """This process's journal, opened for its first job."""
    return Journal(Path(os.environ["HANDLED"]))


def write_downstream(path: Path, downstream: Downstream) -> None:
    """Let the runs that begin from now on fare so, in every process."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"slower": downstream.slower, "fails": downstream.fails}))
    new.replace(path)


def read_downstream(path: Path) -> Downstream:
    """How runs fare now."""
    return Downstream(**json.loads(path.read_text()))


@job(TYPE, retry=RETRY)
async def handle(context: JobContext) -> None:
    """Take as long as the job says, and fail if it says so.

    A line is the job, the member, its process, the number of the run there, the Unix time in ms, and what happened; of a
    beginning also the hash of the payload.
    """
    run = (context.id, os.environ["MEMBER"], str(os.getpid()), str(next(_runs)))
    downstream = read_downstream(Path(os.environ["DOWNSTREAM"]))
    journal().note(*run, str(_clock.wall()), BEGUN, fingerprint(context.raw))
    how = FAILED
    try:
        await asyncio.sleep(context.args["takes"] + downstream.slower)
        if downstream.fails or context.attempt - 1 in context.args["fails"]:
            raise DownstreamFailed(f"run {context.attempt} of {context.id} was to fail")
        how = ENDED
    finally:
        journal().note(*run, str(_clock.wall()), how)


def fingerprint(raw: bytes) -> str:
    """What tells two payloads apart."""
    return sha256(raw).hexdigest()
