"""Sightings by name: things that may happen in a run. `sometimes` wants them seen at least once, `never` not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

from forebay.actors.events import Escalated, Event, Exited, Incident, Noted, Parked, Started, Zombie
from forebay.actors.exits import Failed
from forebay.scenarios.replay.evidence import Evidence
from forebay.scenarios.replay.schema import When

Sighting = Callable[[Evidence], str | None]
"""What was seen first, None if it was not seen."""

LOCK: Final = "topic_lock"


def event_matches(when: When, host: str, event: Event) -> bool:
    """Whether an event is of the kind that `when` describes; its `nth` is not looked at."""
    return (
        type(event).__name__ == when.event
        and (when.name is None or (isinstance(event, Noted) and event.name == when.name))
        and fnmatchcase(event.path, when.path.replace("[", "[[]"))  # paths have brackets: relay[jobs]
        and when.host in (None, host)
    )


def noted(about: str, *names: str) -> Sighting:
    """An actor noted one of these; `about` says what that means."""
    return _told(about, lambda seen: _first(seen, lambda event: isinstance(event, Noted) and event.name in names))


def _told(about: str, sighting: Sighting) -> Sighting:
    sighting.__doc__ = about
    return sighting


def _first(seen: Evidence, matches: Callable[[Event], bool]) -> str | None:
    return next((_shown(host, event) for host, event in seen.events if matches(event)), None)


def _shown(host: str, event: Event) -> str:
    return f"{host}{event.path}: {type(event).__name__} {event.detail()} at {event.at:.3f} s".replace("  ", " ")


def lock_lost(seen: Evidence) -> str | None:
    """A holder lost its topic's lock, or its life, and another term followed."""
    return _first(seen, lambda e: isinstance(e, Exited) and e.path.endswith(f"/{LOCK}") and isinstance(e.exit, Failed))


def another_term(seen: Evidence) -> str | None:
    """A topic had a second term."""
    begun: dict[str, str] = {}
    for host, event in seen.events:
        if isinstance(event, Noted) and event.name == "term_begins":
            if event.path in begun:
                return _shown(host, event)
            begun[event.path] = host
    return None


def another_holder(seen: Evidence) -> str | None:
    """A topic's term began on another host than the one before it."""
    holders: dict[str, str] = {}
    for host, event in seen.events:
        if isinstance(event, Noted) and event.name == "term_begins" and holders.setdefault(event.path, host) != host:
            return _shown(host, event)
    return None


def stale_write_refused(seen: Evidence) -> str | None:
    """A queue refused a write of a term that was over."""
    return _refused(seen, "stale")


def fence_missed(seen: Evidence) -> str | None:
    """A queue that had forgotten refused a write."""
    return _refused(seen, "missing")


def mark_mismatched(seen: Evidence) -> str | None:
    """A queue refused a range that does not begin where the last one ended."""
    return _refused(seen, "mismatch")


def memory_full(seen: Evidence) -> str | None:
    """A queue refused a call since its memory was full."""
    return _refused(seen, "memory")


def _refused(seen: Evidence, why: str) -> str | None:
    return f"{seen.refusals[why]} calls" if seen.refusals[why] else None


def enqueue_refused(seen: Evidence) -> str | None:
    """A post got a clear no."""
    return f"{seen.refused} posts" if seen.refused else None


def outcome_unknown(seen: Evidence) -> str | None:
    """A post got no answer that says whether it was accepted."""
    return _of(sorted(seen.unknown))


def job_ran_twice(seen: Evidence) -> str | None:
    """A job was finished more than once."""
    return _of(id_ for id_, times in seen.finished().items() if times > 1)


def job_failed(seen: Evidence) -> str | None:
    """A handler raised an error."""
    return _of(run.id for run in seen.runs if run.failed)


def job_died(seen: Evidence) -> str | None:
    """A job was tried as often as it may be, and is dead."""
    return _of(sorted(id_ for id_, how in seen.ends.items() if how == "dead"))


def run_cut_short(seen: Evidence) -> str | None:
    """A handler's run never came to its end, and the job ran elsewhere later."""
    later = {run.id for run in seen.runs if run.ended is not None}
    return _of(run.id for run in seen.runs if run.ended is None and run.id in later)


def record_gone(seen: Evidence) -> str | None:
    """The log lost a record that had been accepted."""
    return _of(sorted(seen.gone & seen.accepted.keys()))


def restarted(seen: Evidence) -> str | None:
    """An actor was started again within one life of its process."""
    return _first(seen, lambda event: isinstance(event, Started) and event.incarnation > 1)


def _of(found: Iterable[str]) -> str | None:
    return next(iter(found), None)


def _kind(about: str, kind: type[Event]) -> Sighting:
    return _told(about, lambda seen: _first(seen, lambda event: isinstance(event, kind)))


SIGHTINGS: Final[Mapping[str, Sighting]] = {
    "lock-lost": lock_lost,
    "another-term": another_term,
    "another-holder": another_holder,
    "stale-write-refused": stale_write_refused,
    "fence-missed": fence_missed,
    "mark-mismatched": mark_mismatched,
    "memory-full": memory_full,
    "queue-away": noted("A relay or a worker could not reach its queue.", "queue_away"),
    "queue-filling": noted("A relay slowed down or stopped, since its queue was filling.", "queue_filling"),
    "queue-restored": noted("A queue that had forgotten was given back what was known of a partition.", "restored"),
    "log-away": noted("An actor could not reach the log.", "log_away"),
    "coordination-away": noted("An actor could not reach coordination.", "coordination_away"),
    "log-diverged": noted("A log was not the one that had been relayed: an election had cut it.", "diverged", "truncated"),
    "records-expired": noted("Retention removed records before they were relayed.", "expired"),
    "relay-rewound": noted("A relay went back to records that it had relayed.", "rewound", "diverged", "truncated"),
    "record-gone": record_gone,
    "enqueue-refused": enqueue_refused,
    "outcome-unknown": outcome_unknown,
    "job-ran-twice": job_ran_twice,
    "job-failed": job_failed,
    "job-died": job_died,
    "jobs-reaped": noted("Jobs of a worker that was gone were given to others.", "reaped"),
    "lease-lost": noted("A worker lost the lease of a job that it was running.", "lease_lost"),
    "run-cut-short": run_cut_short,
    "actor-restarted": restarted,
    "incident": _kind("A supervisor acted on the end of a child.", Incident),
    "escalated": _kind("A supervisor used up its restart budget and failed.", Escalated),
    "actor-parked": _kind("An actor used up its restart budget and stays down.", Parked),
    "zombie": _kind("A task outlived its actor.", Zombie),
}
"""Everything that a scenario can name under `sometimes` and `never`."""

UNSEEN: Final = frozenset({"memory-full"})
"""What real servers show of the old design alone: of forebay they do not say why a script was refused."""
