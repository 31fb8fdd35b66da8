"""The relay on real Kafka, Redis and Consul beside a plain loop: `make bench BENCH=relay`, or, to write the result into
docs/benchmarks.md as well, `.venv/bin/python bench/relay --record`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for `measuring`, which the benchmarks share

import race
import reaction
import report
import takeover
import where
from fill import fill
from measuring import machine, page
from stage import Failed, Stage, servers_in

from forebay.config import LockConfig
from forebay.scenarios.servers import CannotGet, Program, get

PACKAGES = ["forebay", "aiokafka", "redis", "hiredis", "msgspec", "python-consul2"]


def main(arguments: list[str]) -> int:
    """Measure, print and, if asked, record; 1 if something cannot be had or went wrong."""
    parser = argparse.ArgumentParser(prog="bench/relay", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all contestants (5)")
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs in the topic (100000)")
    parser.add_argument("--services", type=Path, help="use, and start, the servers of `forebay services up --data SERVICES`")
    parser.add_argument("--record", action="store_true", help=f"write the result into docs/{page.PAGE.name} as well")
    options = parser.parse_args(arguments)
    began = monotonic()
    try:
        programs = {kind: get(kind, _say) for kind in ("redis", "consul", "kafka")}
        head = [*machine.describe(PACKAGES), _versions(programs)]
        with TemporaryDirectory(prefix="forebay-bench-") as folder:
            data = options.services or Path(folder) / "services"
            with servers_in(data, programs, keep=options.services is not None) as servers:
                stage = Stage(servers, Path(folder), options.jobs)
                lines = [*head, *_measure(stage, options.rounds)]
    except (CannotGet, Failed) as error:
        print(f"bench/relay: {error}", file=sys.stderr)
        return 1
    lines += ["", f"measured in {monotonic() - began:.0f} s"]
    print("\n".join(lines))
    if options.record:
        page.record("relay", "\n".join(lines))
    return 0


def _measure(stage: Stage, rounds: int) -> Iterator[str]:
    _say("filling the topic")
    asyncio.run(fill(stage.servers.kafka.bootstrap, stage.jobs))
    results = race.race(stage, rounds, _say)
    yield from report.race(results, stage, rounds)
    _say("one run under the profiler")
    yield from report.where(where.parts(stage))
    _say("limits")
    limits = asyncio.run(reaction.reactions(stage))
    yield from report.reactions(limits)
    _say("takeovers")
    lock = LockConfig()
    yield from report.takeovers(takeover.takeovers(stage), lock.ttl, lock.lock_delay)
    yield from report.aims(results, limits)


def _versions(programs: dict[str, Program]) -> str:
    return ", ".join(f"{kind.capitalize()} {program.version}" for kind, program in programs.items())


def _say(doing: str) -> None:
    print(f"  ... {doing}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
