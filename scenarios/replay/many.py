"""Many seeds of one scenario, each in whichever process is free; what they come to is told in the order of the seeds."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from typing import Final

from attrs import define, field

from forebay.scenarios.replay.folder import save
from forebay.scenarios.replay.reading import read_scenario
from forebay.scenarios.replay.runner import run_scenario
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.replay.verdict import Verdict
from forebay.scenarios.replay.writing import scenario_yaml

LEAST_HOSTS: Final = 2
LEAST_JOBS: Final = 300
LEAST_FAULTS: Final = 3
AHEAD: Final = 4
"""Seeds given out per process before the oldest is told: a slow one keeps none idle."""


def verdicts(
    scenario: Scenario, seeds: Iterable[int], *, processes: int = 1, keep: Path | None = None
) -> Generator[Verdict, None, None]:
    """Run every seed and yield its verdict, in the order of the seeds; what is under way when the iteration is closed is
    waited for, and nothing more begins.

    A run that fails is kept in `folder_of` it, below `keep`. A process that dies raises
    `concurrent.futures.process.BrokenProcessPool`; what a run raises passes through, `OSError` for a folder among it.
    """
    if processes == 1:
        yield from (_run(scenario, seed, keep) for seed in seeds)
        return
    text = scenario_yaml(scenario)
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_leave_interrupts_to_the_parent)
    try:
        rest = iter(seeds)
        under_way: deque[Future[Verdict]] = deque()
        while True:
            free = processes * AHEAD - len(under_way)
            under_way += [pool.submit(_run_text, text, seed, keep) for seed in islice(rest, free)]
            if not under_way:
                return
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def folder_of(keep: Path, scenario: Scenario, seed: int) -> Path:
    """Where a failed run of the scenario is kept."""
    return keep / f"{scenario.name}-{seed}"


def _run_text(text: str, seed: int, keep: Path | None) -> Verdict:
    """In a process of the pool: a scenario travels as it is written in a file."""
    return _run(_read(text), seed, keep)


def _leave_interrupts_to_the_parent() -> None:
    """A terminal's Ctrl-C goes to every process; the one that gives out the seeds ends the others."""
    signal(SIGINT, SIG_IGN)


@cache
def _read(text: str) -> Scenario:
    return read_scenario(text, "scenario.yaml", Path())


def _run(scenario: Scenario, seed: int, keep: Path | None) -> Verdict:
    told = run_scenario(scenario, seed)
    if keep is not None and not told.verdict.passed:
        save(folder_of(keep, scenario, seed), scenario, told)
    return told.verdict


@define
class Tally:
    """How many runs of a scenario passed, and how many count as a test of the whole: with at least two runtimes, 300 jobs
    posted and three faults that bit. `short` says how many do not for which reason.
    """

    hosts: int
    runs: int = 0
    failed: list[int] = field(factory=list)
    counting: int = 0
    short: Counter[str] = field(factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Enter a verdict."""
        self.runs += 1
        if not verdict.passed:
            self.failed.append(verdict.seed)
        reasons = self._short_of(verdict)
        self.short.update(reasons)
        self.counting += not reasons

    def _short_of(self, verdict: Verdict) -> list[str]:
        counts = verdict.counts
        jobs = counts["accepted"] + counts["refused"] + counts["unknown"]
        least = {
            f"fewer than {LEAST_HOSTS} runtimes": self.hosts < LEAST_HOSTS,
            f"fewer than {LEAST_JOBS} jobs": jobs < LEAST_JOBS,
            f"fewer than {LEAST_FAULTS} faults that bit": counts["faults"] < LEAST_FAULTS,
        }
        return [reason for reason, short in least.items() if short]

    def __str__(self) -> str:
        """Two sentences for people."""
        left = ", ".join(f"{count} had {reason}" for reason, count in sorted(self.short.items()))
        why = f"; of the others {left}" if left else ""
        return f"{self.runs - len(self.failed)} of {self.runs} seeds passed. {self.counting} count{why}."
