"""Rounds: every contestant once, then every contestant again, so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from contestants import CONTESTANTS, Contestant
from figures import Figures
from measuring.spread import Spread
from one import MISSING

ONE = Path(__file__).with_name("one.py")


@define
class Results:
    """The figures of each contestant, one for each round, and why some have none."""

    figures: dict[str, list[Figures]] = field(factory=dict)
    missing: dict[str, str] = field(factory=dict)
    broken: dict[str, str] = field(factory=dict)

    def spread(self, name: str, what: str) -> Spread | None:
        """Summarise what was measured; None where it was not."""
        values = [getattr(round_, what) for round_ in self.figures.get(name, [])]
        return Spread.of(values) if values and None not in values else None

    def ratio(self, name: str, other: str, what: str) -> Spread | None:
        """Summarise how many times faster `name` was than `other` in the same round."""
        if self.spread(name, what) is None or self.spread(other, what) is None:
            return None
        pairs = zip(self.figures[name], self.figures[other], strict=True)
        return Spread.of([getattr(mine, what) / getattr(theirs, what) for mine, theirs in pairs])


class Failed(Exception):
    """A measurement's process ended badly; the message is the last line it wrote."""


class Absent(Failed):
    """A package that it needs is not installed."""


def measure(*arguments: str, timeout: float = 120.0) -> dict[str, Any]:
    """Run one measurement in a process of its own. Raises `Absent`, `Failed`."""
    command = [sys.executable, str(ONE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {timeout:.0f} s") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise (Absent if done.returncode == MISSING else Failed)(said)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def run(rounds: int, progress: Callable[[str], None]) -> Results:
    """Measure all contestants `rounds` times, in turns. One that is missing or fails is left out from then on."""
    results = Results()
    for number in range(1, rounds + 1):
        for contestant in CONTESTANTS:
            if contestant.name not in results.missing and contestant.name not in results.broken:
                progress(f"round {number} of {rounds}: {contestant.name}")
                _one(contestant, results)
    return results


def _one(contestant: Contestant, results: Results) -> None:
    try:
        figures = Figures(**measure("contestant", contestant.name))
    except Failed as failed:
        table = results.missing if isinstance(failed, Absent) else results.broken
        table[contestant.name] = str(failed)
        results.figures.pop(contestant.name, None)
    else:
        results.figures.setdefault(contestant.name, []).append(figures)
