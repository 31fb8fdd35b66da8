"""A failing scenario made as small as it goes: the few faults that matter, short and round.

First everything that the seed drew is written out (`plan.pinned`), so that what is taken away shifts nothing else. Then, in
this order and again until nothing helps: the time to recover is cut down, which makes every later try cheap; faults are
dropped (halves first, as delta debugging does: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input",
2002), the workload is cut down, phases and durations are shortened, shares of failing jobs are set to nothing, times are
rounded. A step stays if the same promise is still broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from attrs import evolve, frozen

from forebay.scenarios.replay.amounts import Fixed
from forebay.scenarios.replay.plan import Draws, pinned
from forebay.scenarios.replay.schema import Fault, Post, Scenario
from forebay.scenarios.replay.writing import scenario_yaml

T = TypeVar("T")

Fails = Callable[[Scenario, int], bool]
"""Whether a run of the scenario with the seed breaks what is looked for."""

RECOVERY: Final = "expect recovery"
LEAST_JOBS: Final = 10
LEAST_PHASE: Final = 5.0
LEAST_CONVERGE: Final = 15.0
ROUND: Final = (10.0, 5.0, 1.0, 0.1)
"""Seconds to whose multiples times are rounded, the coarsest that still fails."""


@frozen
class Shrunk:
    """What is left, the seed with which it fails, the steps that led there and how many runs they took."""

    scenario: Scenario
    seed: int
    steps: tuple[str, ...]
    runs: int


def sought(broken: frozenset[str]) -> frozenset[str]:
    """Return which of the promises that a run broke (`Verdict.names`) are to stay broken: not the time that it took to
    recover, if there is another. With less time to recover it would be all that is left.
    """
    return (broken - {RECOVERY}) or broken


def shrink(scenario: Scenario, seed: int, draws: Draws, fails: Fails, *, runs: int = 200, others: int = 2) -> Shrunk:
    """Return the smallest failing scenario that is found within `runs` runs.

    `draws` are the seed's streams. A step that no longer fails with the seed is tried with `others` more seeds, since what
    is left out shifts the order of everything after it.
    """
    search = _Search(scenario, seed, fails, runs, others)
    search.take("write out what the seed drew", pinned(scenario, draws))
    while search.round():
        pass
    return Shrunk(search.scenario, search.seed, tuple(search.steps), search.runs)


class _Search:
    def __init__(self, scenario: Scenario, seed: int, fails: Fails, limit: int, others: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.steps: list[str] = []
        self.runs = 0
        self._fails = fails
        self._limit = limit
        self._known: dict[tuple[str, int], bool] = {}
        self._others = others

    def round(self) -> bool:
        """Try every kind of step once until it helps no more; return whether any did."""
        before = len(self.steps)
        for simpler in (_sooner, _fewer_faults, _fewer_posts, _shorter, _calmer, _rounder):
            while any(self.take(what, candidate) for what, candidate in simpler(self.scenario)):
                pass
        return len(self.steps) > before

    def take(self, what: str, candidate: Scenario) -> bool:
        """Go on with the candidate if it fails."""
        if candidate == self.scenario:
            return False
        for seed in range(self.seed, self.seed + 1 + self._others):
            if self._tried(candidate, seed):
                self.scenario, self.seed = candidate, seed
                self.steps.append(what)
                return True
        return False

    def _tried(self, candidate: Scenario, seed: int) -> bool:
        """Whether it fails; what was tried before is not run again, and beyond the limit nothing is."""
        key = scenario_yaml(candidate), seed
        if key not in self._known:
            if self.runs >= self._limit:
                return False
            self.runs += 1
            self._known[key] = self._fails(candidate, seed)
        return self._known[key]


Steps = Iterator[tuple[str, Scenario]]


def _sooner(scenario: Scenario) -> Steps:
    converge = scenario.phases.converge
    if converge > LEAST_CONVERGE:
        half = max(LEAST_CONVERGE, converge / 2)
        yield f"{half:g} s to recover", evolve(scenario, phases=evolve(scenario.phases, converge=half))


def _fewer_faults(scenario: Scenario) -> Steps:
    faults = scenario.faults
    size = len(faults)
    while size:
        for start in range(0, len(faults), size):
            gone = faults[start : start + size]
            names = ", ".join(fault.id for fault in gone)
            yield f"without {names}", evolve(scenario, faults=faults[:start] + faults[start + size :])
        size //= 2


def _fewer_posts(scenario: Scenario) -> Steps:
    posts = scenario.workload
    for index, post in enumerate(posts):
        if len(posts) > 1:
            yield f"without posts {index}", evolve(scenario, workload=posts[:index] + posts[index + 1 :])
        if post.count > LEAST_JOBS:
            fewer = evolve(post, count=max(LEAST_JOBS, post.count // 2))
            yield f"{fewer.count} jobs", evolve(scenario, workload=_with(posts, index, fewer))


def _shorter(scenario: Scenario) -> Steps:
    phases = scenario.phases
    for index, fault in enumerate(scenario.faults):
        if isinstance(fault.lasts, Fixed) and fault.lasts.value > 1.0:
            half = round(fault.lasts.value / 2, 3)
            shorter = evolve(fault, lasts=Fixed(half))
            yield f"{fault.id} for {half} s", evolve(scenario, faults=_with(scenario.faults, index, shorter))
    needed = max([post.at + post.over for post in scenario.workload] + [_latest(fault) for fault in scenario.faults])
    if phases.chaos > max(needed, LEAST_PHASE):
        chaos = evolve(phases, chaos=max(needed, LEAST_PHASE, phases.chaos / 2))
        yield f"chaos of {chaos.chaos:g} s", evolve(scenario, phases=chaos)


def _calmer(scenario: Scenario) -> Steps:
    posts = scenario.workload
    for index, post in enumerate(posts):
        calm: Post = evolve(post, fails=Fixed(0.0), poison=0.0)
        yield "no failing jobs", evolve(scenario, workload=_with(posts, index, calm))
        even: Post = evolve(post, takes=Fixed(0.01), size=Fixed(64))
        yield "jobs alike", evolve(scenario, workload=_with(posts, index, even))


def _rounder(scenario: Scenario) -> Steps:
    for index, fault in enumerate(scenario.faults):
        for step in ROUND:
            rounded = _rounded(fault, step)
            if rounded != fault and _latest(rounded) <= scenario.phases.chaos:
                yield f"{fault.id} in steps of {step:g} s", evolve(scenario, faults=_with(scenario.faults, index, rounded))


def _rounded(fault: Fault, step: float) -> Fault:
    """The fault with its times rounded to multiples of `step`, unless they are multiples of a coarser one already."""
    return evolve(fault, at=_near(fault.at, step), after=_near(fault.after, step), lasts=_near(fault.lasts, step))


def _near(amount: Any, step: float) -> Any:
    if not isinstance(amount, Fixed):
        return amount
    near = round(round(amount.value / step) * step, 3)
    coarse = any(round(amount.value / other, 6).is_integer() for other in ROUND if other >= step)
    return amount if coarse or near == 0 else Fixed(near)


def _latest(fault: Fault) -> float:
    return fault.at.value if isinstance(fault.at, Fixed) else 0.0


def _with(items: Iterable[T], index: int, item: T) -> tuple[T, ...]:
    return tuple(item if place == index else other for place, other in enumerate(items))
