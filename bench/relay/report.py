"""The run as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from measuring.spread import Spread
from race import CONTESTANTS, OURS, RIVAL, Results
from stage import PARTITIONS, Stage
from takeover import CLEAN, KILLS

AIM = 0.8
"""Of the plain loop's rate."""


def race(results: Results, stage: Stage, rounds: int) -> Iterator[str]:
    """Yield the table of the contestants."""
    yield ""
    yield f"{stage.jobs:,} jobs in {PARTITIONS} partitions relayed into an empty Redis; jobs per second, {rounds} rounds"
    yield f"  {'':<18} {'median':>9} {'min':>9} {'max':>9}   x {RIVAL} (min - max)"
    for contestant in CONTESTANTS:
        rate, ratio = results.spread(contestant.name, "rate"), results.ratio(contestant.name, RIVAL)
        rates = f"{rate.middle:>9,.0f} {rate.low:>9,.0f} {rate.high:>9,.0f}"
        yield f"  {contestant.name:<18} {rates}   {ratio.middle:.2f} ({ratio.low:.2f} - {ratio.high:.2f})"
    yield ""
    yield "processor time of one job, microseconds (medians; of Kafka, all brokers)"
    yield f"  {'':<18} {'itself':>9} {'Redis':>9} {'Kafka':>9}"
    for contestant in CONTESTANTS:
        times = [results.spread(contestant.name, what).middle for what in ("own", "redis", "kafka")]
        yield f"  {contestant.name:<18} " + " ".join(f"{time:>9.1f}" for time in times)


def where(shares: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines that say what the relay's process does with its time."""
    yield ""
    yield f"what {OURS}'s process does with its time, by cProfile, which slows it down"
    for part, share in shares.items():
        yield f"  {share:5.1%}  {part}"


def reactions(spreads: Mapping[str, Spread]) -> Iterator[str]:
    """Yield the lines about limits."""
    yield ""
    yield "a limit changed in Consul, from before the change is sent"
    yield f"  a pause, until the last job      {_seconds(spreads['pause'])}"
    yield f"  its end, until the first job     {_seconds(spreads['resume'])}"


def takeovers(spreads: Mapping[str, Spread], ttl: float, lock_delay: float) -> Iterator[str]:
    """Yield the lines about takeovers."""
    yield ""
    yield "another process takes the topic over, from the signal to its first job"
    yield f"(the defaults: lock.ttl {ttl:g} s, lock_delay {lock_delay:g} s; Consul takes up to twice the ttl, and the delay)"
    yield f"  the holder was stopped (TERM), {CLEAN} times   {_seconds(spreads['stopped'])}"
    yield f"  the holder was killed (-9), {KILLS} times      {_seconds(spreads['killed'])}"


def aims(results: Results, limits: Mapping[str, Spread]) -> Iterator[str]:
    """Yield PASS or NOT REACHED for each aim."""
    yield ""
    ratio, slowest = results.ratio(OURS, RIVAL).middle, max(spread.high for spread in limits.values())
    yield f"{_verdict(ratio >= AIM)}  at least {AIM:.0%} of the plain loop: {ratio:.0%}"
    yield f"{_verdict(slowest < 1.0)}  a changed limit acts within a second: the slowest of all took {slowest:.2f} s"


def _verdict(reached: bool) -> str:
    return "PASS       " if reached else "NOT REACHED"


def _seconds(spread: Spread) -> str:
    return f"{spread.middle:6.2f} s (min {spread.low:.2f}, max {spread.high:.2f})"
