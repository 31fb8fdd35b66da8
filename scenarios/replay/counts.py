"""Figures of a run by name: what a verdict shows, and `expect.counts` bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from forebay.actors.events import Escalated, Noted, Started
from forebay.scenarios.replay.evidence import Evidence
from forebay.scenarios.replay.lock_up import longest_lock

AWAY: Final = frozenset({"log_away", "queue_away", "coordination_away"})


@frozen
class Count:
    """A figure: what it counts, and how."""

    about: str
    of: Callable[[Evidence], int]


def _notes(seen: Evidence, *names: str) -> int:
    return sum(isinstance(event, Noted) and event.name in names for _, event in seen.events)


COUNTS: Final[Mapping[str, Count]] = {
    "accepted": Count("Jobs that got a positive answer.", lambda seen: len(seen.accepted)),
    "refused": Count("Posts that got a clear no.", lambda seen: seen.refused),
    "unknown": Count("Jobs with a post that got no clear answer.", lambda seen: len(seen.unknown)),
    "finished": Count("Jobs that a handler ran without an error.", lambda seen: len(seen.finished())),
    "dead": Count(
        "Jobs that were tried as often as they may be.", lambda seen: sum(h == "dead" for h in seen.ends.values())
    ),
    "parked": Count("Jobs that the queue would not take.", lambda seen: sum(how == "parked" for how in seen.ends.values())),
    "duplicates": Count(
        "Times that a job was finished again.", lambda seen: sum(times - 1 for times in seen.finished().values())
    ),
    "gone": Count("Accepted jobs without an end that the log lost.", lambda seen: len(seen.gone & seen.accepted.keys())),
    "lost": Count(
        "Jobs without an end that no acks excuse.", lambda seen: sum(not seen.excused(id_) for id_ in seen.unended())
    ),
    "runs": Count("Runs of handlers.", lambda seen: len(seen.runs)),
    "failed_runs": Count("Those that raised an error.", lambda seen: sum(run.failed for run in seen.runs)),
    "terms": Count("Times that a runtime began to relay a topic.", lambda seen: _notes(seen, "term_begins")),
    "outages": Count("Times that an actor lost the log, a queue or coordination.", lambda seen: _notes(seen, *AWAY)),
    "refused_writes": Count(
        "Writes that a queue refused: of a term that was over, or of a range out of order.",
        lambda seen: sum(seen.refusals[why] for why in ("stale", "missing", "mismatch")),
    ),
    "restarts": Count(
        "Times that an actor was started again.",
        lambda seen: sum(isinstance(event, Started) and event.incarnation > 1 for _, event in seen.events),
    ),
    "escalations": Count(
        "Supervisors that used up their restart budget.",
        lambda seen: sum(isinstance(event, Escalated) for _, event in seen.events),
    ),
    "locked_seconds": Count(
        "The longest standstill, in seconds, with jobs waiting and no fault in force but a memory limit.",
        lambda seen: int(longest_lock(seen)),
    ),
    "faults": Count("Faults that changed something.", lambda seen: sum(bite.bit for bite in seen.bites)),
}
"""In the order in which they are shown."""


def counted(seen: Evidence) -> dict[str, int]:
    """Every figure."""
    return {name: count.of(seen) for name, count in COUNTS.items()}
