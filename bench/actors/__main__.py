"""Speed of the actor model, side by side with its peers: `make bench BENCH=actors`, or, to write the result into
docs/benchmarks.md as well, `.venv/bin/python bench/actors --record`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for `measuring`, which the benchmarks share

import report
import rounds
from contestants import CONTESTANTS
from crowd import Crowd
from measuring import machine, page
from measuring.spread import Spread

RESTART_ROUNDS = 3


def main(arguments: list[str]) -> int:
    """Measure, print and, if asked, record; 1 if a contestant failed."""
    parser = argparse.ArgumentParser(prog="bench/actors", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all contestants (7)")
    parser.add_argument("--record", action="store_true", help=f"write the result into docs/{page.PAGE.name} as well")
    options = parser.parse_args(arguments)
    began = monotonic()
    head = list(machine.describe([c.package for c in CONTESTANTS if c.package]))
    results = rounds.run(options.rounds, _progress)
    lines = [*head, *report.tables(results, options.rounds), *_ours(results)]
    lines += ["", f"measured in {monotonic() - began:.0f} s"]
    print("\n".join(lines))
    if options.record:
        page.record("actors", "\n".join(lines))
    return int(bool(results.broken))


def _ours(results: rounds.Results) -> Iterator[str]:
    """Measure what only forebay has; yield its lines and the aims."""
    _progress("a crowd of actors")
    crowd = Crowd(**rounds.measure("crowd"))
    _progress("restarts")
    costs = [rounds.measure("restart") for _ in range(RESTART_ROUNDS)]
    yield from report.ask_in_parts(results, rounds.measure("parts"))
    yield from report.crowd(crowd)
    yield from report.restarts({what: Spread.of([cost[what] for cost in costs]) for what in costs[0]})
    yield from report.aims(results, crowd.alive)


def _progress(doing: str) -> None:
    print(f"  ... {doing}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
