"""The run as text: tables, then one line for each aim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen
from contestants import CONTESTANTS
from crowd import ACTORS, Crowd
from figures import CAPACITY, Sizes
from measuring.spread import Spread
from restart import GROUP, RESTARTS
from rounds import Results

OURS = "forebay"
RIVAL = "pykka"


@frozen
class Aim:
    """`forebay` is to be at least `times` as fast as `other` in `what`."""

    what: str
    words: str
    other: str
    times: float


AIMS = (
    Aim("tell", "tell", RIVAL, 15.0),
    Aim("tell", "tell", "asyncio.Queue", 1.0),
    Aim("ask", "ask, one at a time", RIVAL, 5.0),
    Aim("together", "ask, many at a time", RIVAL, 5.0),
)


def tables(results: Results, rounds: int) -> Iterator[str]:
    """Yield the contestants' tables."""
    sizes = Sizes()
    titles = {
        "tell": f"tell: {sizes.tells:,} messages, mailbox of {CAPACITY:,}, the sender waiting for room",
        "ask": f"ask: {sizes.asks:,} asks, one after the other",
        "together": f"ask: {sizes.asks:,} asks, {sizes.askers} waiting at a time",
    }
    for what, title in titles.items():
        yield ""
        yield f"{title}; messages handled per second, {rounds} rounds"
        yield f"  {'':<18} {'median':>11} {'min':>11} {'max':>11}   x {RIVAL} (min - max)"
        for contestant in CONTESTANTS:
            spread = results.spread(contestant.name, what)
            if spread is not None:
                ratio = results.ratio(contestant.name, RIVAL, what)
                yield f"  {contestant.name:<18} {_rates(spread)}   {_times(ratio)}"
    for contestant in CONTESTANTS:
        if contestant.name in results.missing:
            yield f"  {contestant.name}: not measured; get it with: pip install {contestant.package}"
        if contestant.name in results.broken:
            yield f"  {contestant.name}: FAILED: {results.broken[contestant.name]}"


PARTS = {
    "futures": "the reply's future, the reader's, and the ask between them",
    "expiry": "its place among the time-outs, taken and left",
    "books": "who is busy, for how long, and the mailbox's depth",
    "clock": "the deadline",
    "handler": "the handler, a coroutine that replies",
}


def ask_in_parts(results: Results, parts: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines that say what an ask is made of."""
    yield ""
    yield "where the time of an ask goes, in microseconds"
    for name in (OURS, "deque + future", RIVAL):
        spread = results.spread(name, "ask")
        if spread is not None:
            yield f"  an ask of {name:<16} {1e6 / spread.middle:6.1f} (best round {1e6 / spread.high:.1f})"
    yield f"  two passes of the loop     {2 * parts['one_pass']:6.1f} at least"
    for part, words in PARTS.items():
        yield f"  {part:<26} {parts[part]:6.1f} {words}"


def crowd(figures: Crowd) -> Iterator[str]:
    """Yield the lines about many actors."""
    yield ""
    yield f"{ACTORS:,} supervised actors; each answered an ask: {figures.alive:,}"
    yield f"  memory of one  {figures.bytes_each:8,.0f} bytes (a bare waiting task: {figures.task_bytes:,.0f})"
    yield f"  start of one   {figures.start:8.1f} us with the tree, {figures.start_later:.1f} us by start_child later"
    yield f"  (bare task)    {figures.task_start:8.1f} us"
    yield f"  stop of one    {figures.stop:8.1f} us, all together"


def restarts(spreads: dict[str, Spread]) -> Iterator[str]:
    """Yield the lines about restarts."""
    yield ""
    yield f"one restart ({RESTARTS:,} crashes), from the crashing message to the next incarnation's answer"
    yield f"  one actor                 {_micros(spreads['alone'])}"
    yield f"  a group of {GROUP}, one_for_all {_micros(spreads['group'])}"


def aims(results: Results, alive: int) -> Iterator[str]:
    """Yield PASS or NOT REACHED for each aim."""
    yield ""
    for aim in AIMS:
        ratio = results.ratio(OURS, aim.other, aim.what)
        if ratio is None:
            yield f"NOT MEASURED {aim.words}: at least {aim.times:g} x {aim.other}"
            continue
        verdict = "PASS       " if ratio.middle >= aim.times else "NOT REACHED"
        limit = results.ratio("deque + future", aim.other, aim.what)
        bound = "" if limit is None else f"; the limit of one asyncio loop: {limit.middle:.1f} x"
        yield f"{verdict}  {aim.words}: at least {aim.times:g} x {aim.other}: {ratio.middle:.1f} x{bound}"
    yield f"{'PASS       ' if alive == ACTORS else 'NOT REACHED'}  {ACTORS:,} supervised actors alive: {alive:,}"


def _rates(spread: Spread) -> str:
    return f"{spread.middle:>11,.0f} {spread.low:>11,.0f} {spread.high:>11,.0f}"


def _times(ratio: Spread | None) -> str:
    return "" if ratio is None else f"{ratio.middle:6.2f} ({ratio.low:.2f} - {ratio.high:.2f})"


def _micros(spread: Spread) -> str:
    return f"{spread.middle:8.1f} us (min {spread.low:.1f}, max {spread.high:.1f})"
