"""The handler of a scenario's jobs: it does what the job says, and each of its runs is written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Final

from attrs import evolve

from forebay.jobs import JobContext, Registry, RetryPolicy
from forebay.scenarios.replay.evidence import Evidence, Run
from forebay.scenarios.replay.scene import Downstream
from forebay.scenarios.replay.workload import Job

TYPE: Final = "scenario.job"
RETRY: Final = RetryPolicy(max_attempts=5, base=0.5, cap=5.0)

_FILLING: Final = 'é"</& \\u00e9 '
"""What payloads are filled with: characters that encoders write in more than one way."""


class DownstreamFailed(Exception):
    """What a run ends with that is to fail."""


def payload(job: Job) -> bytes:
    """The job's arguments as JSON text that no encoder would write just so: only kept as they are do they come back."""
    fails = [index for index, fails in enumerate(job.fails) if fails]
    head = f'{{ "takes":{job.takes!r},"fails" : {json.dumps(fails)}, "filling": "'
    filling = (_FILLING * (job.size // len(_FILLING) + 1))[: job.size].replace("\\", "/").replace('"', "'")
    return f'{head}{filling}"}}'.encode()


class Handling:
    """Handlers for every life of every host. `payloads` are those that were posted, by job."""

    def __init__(self, seen: Evidence, downstream: Downstream) -> None:
        self.payloads: dict[str, bytes] = {}
        self._seen = seen
        self._downstream = downstream

    def registry(self, host: str, life: int, now: Callable[[], float]) -> Registry:
        """Return the handlers of one life of a host; `now` tells the seconds of the run."""
        registry = Registry()

        @registry.job(TYPE, retry=RETRY)
        async def handle(job: JobContext) -> None:
            runs = self._seen.runs
            intact = job.raw == self.payloads.get(job.id)
            runs.append(Run(job.id, host, life, now(), intact=intact))
            place, failed = len(runs) - 1, True
            try:
                await asyncio.sleep(job.args["takes"] + self._downstream.slower)
                if self._downstream.fails or job.attempt - 1 in job.args["fails"]:
                    raise DownstreamFailed(f"run {job.attempt} of {job.id} was to fail")
                failed = False
            finally:
                runs[place] = evolve(runs[place], ended=now(), failed=failed)

        return registry
