"""What a test run came to, gathered from pytest's reports: counts, reasons for skipping, recorded
figures.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from attrs import frozen

FIGURE = "figure"


@frozen
class Figure:
    """A number that a test measured."""

    name: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name}: {self.value:,.6g} {self.unit}".rstrip()


@frozen
class Outcome:
    """Counts of tests, who failed, why tests were skipped (reason -> how many), and the figures."""

    passed: int
    failed: tuple[str, ...]
    xfailed: int
    deselected: int
    skipped: Mapping[str, int]
    figures: tuple[Figure, ...]
    seconds: float

    @property
    def ran(self) -> int:
        return self.passed + len(self.failed) + self.xfailed

    def __str__(self) -> str:
        return (
            f"{self.ran} tests ran in {self.seconds:.0f} s: {self.passed} passed, "
            f"{len(self.failed)} failed, {sum(self.skipped.values())} skipped, "
            f"{self.deselected} left out by their marks"
        )


def figure_property(name: str, value: float, unit: str) -> tuple[str, object]:
    """How a figure travels from a test to the report: a user property."""
    return FIGURE, (name, float(value), unit)


def outcome_of(stats: Mapping[str, Sequence[object]], started: float) -> Outcome:
    """Read the terminal reporter's `stats`; `started` is by `time.monotonic`."""
    reports = [r for group in stats.values() for r in group if isinstance(r, pytest.TestReport)]
    figures = {
        Figure(*value): None  # each phase's report repeats the test's properties; order is kept
        for report in reports
        for key, value in report.user_properties
        if key == FIGURE and isinstance(value, tuple)
    }
    broken = [*stats.get("failed", ()), *stats.get("error", ())]
    return Outcome(
        passed=len(stats.get("passed", ())),
        failed=tuple(dict.fromkeys(getattr(report, "nodeid", str(report)) for report in broken)),
        xfailed=len(stats.get("xfailed", ())),
        deselected=len(stats.get("deselected", ())),
        skipped=Counter(_reason(report) for report in stats.get("skipped", ())),
        figures=tuple(figures),
        seconds=time.monotonic() - started,
    )


def _reason(report: object) -> str:
    longrepr = getattr(report, "longrepr", None)
    reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return str(reason).removeprefix("Skipped: ")
