"""How long a topic stands still when its holder goes: two processes, one of which waits for the lock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from measuring.spread import Spread
from stage import Stage, wait_for

CLEAN: Final = 3
KILLS: Final = 2
"""Few: each may take twice the lock's time to live, and its delay."""


def takeovers(stage: Stage) -> Mapping[str, Spread]:
    """Seconds from the signal to the holder until the next one's first job, by how the holder went."""
    return {
        "stopped": Spread.of([_takeover(stage, kill=False) for _ in range(CLEAN)]),
        "killed": Spread.of([_takeover(stage, kill=True) for _ in range(KILLS)]),
    }


def _takeover(stage: Stage, *, kill: bool) -> float:
    """One takeover, in the midst of the topic."""
    stage.empty_queue()
    with stage.relay("a") as holder:
        wait_for(lambda: stage.relayed() > 0, "the holder's first job", holder)
        with stage.relay("b") as heir:
            wait_for((stage.folder / "b" / "control.sock").exists, "the start of the one that waits", heir)
            token = stage.token()
            sent = time.perf_counter()
            if kill:
                holder.process.kill()
            else:
                holder.stop()
            wait_for(lambda: stage.token() != token, "the next term", heir)
            before = stage.relayed()
            took = wait_for(lambda: stage.relayed() > before, "the next holder's first job", heir) - sent
            heir.stop()
    return took
