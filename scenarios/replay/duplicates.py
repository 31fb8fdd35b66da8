"""Why a job was finished more than once: the faults that explain it, and those that do not."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

from forebay.actors.events import Exited, Noted
from forebay.actors.relay.settled_marks import SNAPSHOT_INTERVAL
from forebay.scenarios.replay.evidence import Bite, Evidence, Run
from forebay.scenarios.replay.examples import some

SNAPSHOT_SLACK: Final = 2 * SNAPSHOT_INTERVAL
"""Seconds before a fault in which a job may have ended without a snapshot that says so: an interval, one for the write."""

RECORDING: Final = 3.0
"""Seconds after its end within which a run is recorded as over, if nothing hinders that."""

CUT: Final = frozenset(
    {
        "kafka.broker.kill", "kafka.zone.kill", "kafka.kill", "kafka.unclean", "kafka.leader.move", "kafka.broker.stop",
        "kafka.zone.stop", "kafka.stop",
    }
)  # fmt: skip
"""Faults that can cut the log."""

FORGET: Final = CUT | {"redis.wipe", "redis.flush", "redis.failover"}
"""Faults that bring jobs again: they take from the queue, or cut the log."""

HINDER: Final = frozenset(
    {
        "host.kill", "host.pause", "redis.kill", "redis.cut", "redis.latency", "redis.slow", "redis.replies.drop",
        "kafka.answers.break", "kafka.cut", "kafka.latency",
    }
)  # fmt: skip
"""Faults that can keep the end of a run from being recorded."""

OF_A_WORKER: Final = frozenset({"host.kill", "host.pause", "redis.cut", "redis.slow"})
"""Those of them that hinder what runs on one host."""

BRING_BACK: Final = HINDER | FORGET
"""Faults that bring a job again, each in its way."""

BETWEEN_TERMS: Final = frozenset(
    {
        "host.stop", "host.restart", "consul.cut", "consul.down", "consul.expire", "consul.lock.free", "consul.lock.delete",
        "consul.wipe", "consul.latency",
    }
)  # fmt: skip
"""Faults that can leave a topic without a term, or let it have short ones."""

AFTERMATH: Final = 7.0
"""Seconds after its end for which a fault can still keep a snapshot away: a call has gone without an answer for 5, or the
next term has come."""

GIVEN_UP: Final = 6.0
"""Seconds after which a call that was lost, or its reply, has been given up, and made again: its time-out is 5. Until then
a worker tells its queue nothing more.
"""

SLOW: Final = 0.4
"""Seconds: where messages take no longer, a lease does not lapse, and ends are recorded."""


FIRST_SNAPSHOT: Final = 2.5
"""Seconds within which a term has written its first snapshot, if messages are not slow: it asks the queue twice, and the log
once.
"""


def duplicates_explained(seen: Evidence) -> str | None:
    """A job that was posted once was finished again only where a fault explains it: one that makes the queue forget, or that
    kept the end of a run from being recorded.
    """
    runs = _by_job(seen)
    unexplained = [
        id_
        for id_, ended in runs.items()
        if id_ not in seen.again and not all(_explained(seen, *pair) for pair in pairwise(ended))
    ]
    left = [id_ for id_ in unexplained if not _has_two_records(seen, id_)]
    return some(left, "jobs were finished again with no fault near that explains it")


def _has_two_records(seen: Evidence, id_: str) -> bool:
    """Whether two records of a job that was put back into the log bring it: the queue forgot after that, or the relay ended
    before its mark passed the one that it had put back.
    """
    detours = _detours(seen, id_)
    return seen.comes_twice(id_) or any(
        bite.do in FORGET and bite.bit and bite.at >= at for bite in seen.bites for at in detours
    )


def _detours(seen: Evidence, id_: str) -> list[float]:
    """When the job was put back into the log; one whose post had no answer may be any of those that were."""
    put_back, accepted = seen.put_back(), seen.accepted.get(id_)
    if accepted is None:
        return [at for times in put_back.values() for at in times]
    return put_back.get((accepted.topic, accepted.partition, accepted.offset), [])


def _explained(seen: Evidence, first: Run, second: Run) -> bool:
    """Whether a fault can be why the job of the earlier run came again. Nothing but a fault brings a job again."""
    if any(_forgotten(seen, bite, first, second) or _unrecorded(bite, first, second) for bite in seen.bites):
        return True
    since, until = min(first.started, second.started) - GIVEN_UP, min(_end(second), _end(first) + RECORDING)
    return any(since <= at <= until and host in (first.host, second.host) for at, host in seen.unanswered)


def _unrecorded(bite: Bite, first: Run, second: Run) -> bool:
    """Whether the fault can have kept the end of the earlier run from being recorded: it was in force then, and where it is
    about the workers of a host, on one of these two.
    """
    if bite.do in OF_A_WORKER and bite.args.get("host", first.host) not in (first.host, second.host):
        return False
    lasting = RECORDING if bite.until is None else 0.0  # what is over at once has its effect on the next calls
    until = min(_end(second), _end(first) + RECORDING)
    return _can(bite, HINDER) and within(bite, min(first.started, second.started) - lasting, until)


def _forgotten(seen: Evidence, bite: Bite, first: Run, second: Run) -> bool:
    """Whether the fault can have taken the end of the earlier run back: with what the log lost, or before a snapshot had
    it.
    """
    since = min(first.started, second.started) - SNAPSHOT_SLACK
    accepted = seen.accepted.get(first.id)
    if accepted is not None and bite.args.get("partition", accepted.partition) != accepted.partition:
        return False
    if bite.do in CUT:
        return within(bite, since, min(_end(second), _end(first) + SNAPSHOT_SLACK))
    return bite.do in FORGET and within(bite, since, _end(second)) and not _must_be_known(seen, _end(first), bite.at)


def _must_be_known(seen: Evidence, ended: float, forgot: float) -> bool:
    """Whether there must have been a snapshot in between: a term begins with one, and where nothing hinders it there is one
    each interval.
    """
    if _unhindered(seen, ended, forgot) > SNAPSHOT_SLACK:
        return True
    return any(
        ended + 1.0 < at < forgot - FIRST_SNAPSHOT
        and not any(_can(bite, BRING_BACK) and within(bite, ended - AFTERMATH, at + FIRST_SNAPSHOT) for bite in seen.bites)
        and not any(bite.do in CUT and within(bite, at, forgot) for bite in seen.bites)
        for at in _terms(seen)
    )


def _terms(seen: Evidence) -> list[float]:
    """When terms began that went on until they must have written their first snapshot."""
    ends = [(host, e.at) for host, e in seen.events if isinstance(e, Exited) and e.path.endswith("/term/settled_marks")]
    return [
        event.at
        for host, event in seen.events
        if isinstance(event, Noted)
        and event.name == "term_begins"
        and not any(host == where and event.at <= at <= event.at + FIRST_SNAPSHOT for where, at in ends)
    ]


def _unhindered(seen: Evidence, since: float, until: float) -> float:
    """The seconds in which no fault can have kept a snapshot away."""
    free, at = 0.0, since
    for bite in sorted(seen.bites, key=lambda bite: bite.at):
        if bite.bit and _can(bite, BRING_BACK | BETWEEN_TERMS):
            free += max(0.0, min(bite.at, until) - at)
            at = max(at, (bite.until or bite.at) + AFTERMATH)
    return free + max(0.0, until - at)


def _can(bite: Bite, kinds: frozenset[str]) -> bool:
    return bite.do in kinds and not _is_small(bite)


def _end(run: Run) -> float:
    return math.inf if run.ended is None else run.ended


def _is_small(bite: Bite) -> bool:
    by = bite.args.get("by")
    return isinstance(by, int | float) and by <= SLOW


def within(bite: Bite, since: float, until: float) -> bool:
    """Whether the fault bit, and was in force at some time from `since` to `until`."""
    return bite.bit and bite.at <= until and (bite.until or bite.at) >= since


def _by_job(seen: Evidence) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {}
    for run in seen.runs:
        if run.ended is not None and not run.failed:
            runs.setdefault(run.id, []).append(run)
    return {id_: sorted(ended, key=lambda run: run.ended or 0.0) for id_, ended in runs.items()}
