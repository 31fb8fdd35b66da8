"""Figures of a run by name: what a verdict shows, and `expect.counts` bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from forebay.actors.events import Escalated, Noted, Started
from forebay.scenarios.replay.evidence import Evidence
from forebay.scenarios.replay.lock_up import longest_lock

COUNTS: Final[Mapping[str, Callable[[Evidence], int]]] = {
    "accepted": lambda seen: len(seen.accepted),
    "refused": lambda seen: seen.refused,
    "unknown": lambda seen: len(seen.unknown),
    "finished": lambda seen: len(seen.finished()),
    "dead": lambda seen: sum(how == "dead" for how in seen.ends.values()),
    "parked": lambda seen: sum(how == "parked" for how in seen.ends.values()),
    "duplicates": lambda seen: sum(times - 1 for times in seen.finished().values()),
    "gone": lambda seen: len(seen.gone & seen.accepted.keys()),
    "lost": lambda seen: sum(not seen.excused(id_) for id_ in seen.unended()),
    "runs": lambda seen: len(seen.runs),
    "failed_runs": lambda seen: sum(run.failed for run in seen.runs),
    "terms": lambda seen: sum(isinstance(event, Noted) and event.name == "term_begins" for _, event in seen.events),
    "refused_writes": lambda seen: sum(seen.refusals[why] for why in ("stale", "missing", "mismatch")),
    "restarts": lambda seen: sum(isinstance(event, Started) and event.incarnation > 1 for _, event in seen.events),
    "escalations": lambda seen: sum(isinstance(event, Escalated) for _, event in seen.events),
    "locked_seconds": lambda seen: int(longest_lock(seen)),
    "faults": lambda seen: sum(bite.bit for bite in seen.bites),
}
"""In the order in which they are shown."""


def counted(seen: Evidence) -> dict[str, int]:
    """Every figure."""
    return {name: count(seen) for name, count in COUNTS.items()}
