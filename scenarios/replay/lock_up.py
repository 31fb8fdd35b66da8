"""How long a system stood still though it could have gone on: what a queue that has locked up looks like from outside."""

from __future__ import annotations

from bisect import bisect_right

from forebay.scenarios.replay.evidence import Bite, Evidence, Moment

LIMIT = "redis.limit"
"""The one fault that excuses no standstill: a queue must get along with the memory that it has."""


def longest_lock(seen: Evidence) -> float:
    """The longest time, in seconds, in which no run began or ended although jobs waited and no fault but a memory limit was
    in force. A fault that is over at once excuses nothing.
    """
    moves = sorted(at for run in seen.runs for at in (run.started, run.ended) if at is not None)
    longest, since = 0.0, None
    last = 0.0
    for moment in seen.moments:
        moved = bisect_right(moves, moment.at) > bisect_right(moves, last)
        if moved or not _waits(moment) or _excused(seen.bites, moment.at):
            since = None
        elif since is None:
            since = last
        longest = longest if since is None else max(longest, moment.at - since)
        last = moment.at
    return longest


def _waits(moment: Moment) -> bool:
    return sum(moment.lag.values()) + sum(moment.waiting.values()) > 0


def _excused(bites: list[Bite], at: float) -> bool:
    return any(bite.do != LIMIT and bite.at <= at <= (bite.until or bite.at) for bite in bites)
