"""How soon a limit that was changed in Consul acts: from before the change is sent to what Redis sees of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from measuring.spread import Spread
from stage import TOPIC, Stage, wait_for

from forebay.actors.relay.rate_limiter import limit_key
from forebay.backends.consul import ConsulCoordination

CHANGES: Final = 10
STILL: Final = 0.5
"""Seconds without a job after which a pause is taken for in force; the time is counted to the last job, not to here."""


async def reactions(stage: Stage) -> Mapping[str, Spread]:
    """Seconds until a pause stopped the relay, and until a limit set it going again."""
    coordination = ConsulCoordination(stage.servers.consul.url)
    await coordination.start()
    pauses, resumptions = [], []
    try:
        stage.empty_queue()
        await coordination.put(limit_key(TOPIC), b"pause")
        with stage.relay() as child:
            wait_for(lambda: stage.token() != [None, None], "the first term", child)
            _last_job(stage)  # the term is at rest when the first change comes
            for _ in range(CHANGES):
                before, sent = stage.relayed(), time.perf_counter()
                await coordination.put(limit_key(TOPIC), b"10000000/s")
                resumptions.append(
                    wait_for(lambda before=before: stage.relayed() > before, "a job after a pause", child) - sent
                )
                sent = time.perf_counter()
                await coordination.put(limit_key(TOPIC), b"pause")
                pauses.append(max(0.0, _last_job(stage) - sent))
            child.stop()
    finally:
        await coordination.delete(limit_key(TOPIC))
        await coordination.stop()
    return {"pause": Spread.of(pauses), "resume": Spread.of(resumptions)}


def _last_job(stage: Stage) -> float:
    """Return when the last job came; there is none for `STILL` seconds after it."""
    seen, at = stage.relayed(), time.perf_counter()
    while time.perf_counter() - at < STILL:
        if (now := stage.relayed()) != seen:
            seen, at = now, time.perf_counter()
        time.sleep(0.002)
    return at
