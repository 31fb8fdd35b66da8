"""The demo's application: several threads that post the workload over HTTP, most jobs one by one, some in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from forebay.scenarios.journal import Journal
from forebay.scenarios.poster import Poster, Stopped

SECONDS: Final = 6.0
"""How long the posting takes."""
BATCH: Final = 10


def post_share(url: str, posted: Path, jobs: Sequence[dict[str, Any]], random: Random, stop: threading.Event) -> None:
    """Post these jobs, spread over `SECONDS`, or until `stop` is set; write down in `posted` what was accepted.

    Blocks: call it in a thread. Raises `Refused`.
    """
    begun, sent = time.monotonic(), 0
    with Journal(posted) as journal, closing(Poster(lambda: url, journal, stop)) as poster, suppress(Stopped):
        while sent < len(jobs):
            due = begun + SECONDS * sent / len(jobs)
            stop.wait(max(0.0, due - time.monotonic()))
            if random.random() < 0.02:
                poster.post_batch(jobs[sent : sent + BATCH])
                sent += BATCH
            else:
                poster.post(jobs[sent])
                sent += 1
