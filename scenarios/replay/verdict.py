"""What is said of a run in the end: passed or not, which promise was broken when and how, the figures, the digest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import cattrs
from attrs import frozen

from forebay.scenarios.replay.counts import counted
from forebay.scenarios.replay.evidence import Bite, Evidence
from forebay.scenarios.replay.invariants import CHECKS
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.replay.sightings import SIGHTINGS

SIM: Final = "sim"
REAL: Final = "real"


@frozen
class Broken:
    """A promise that did not hold: `group` is always, eventually, never, sometimes or expect (or `run`, where the run itself
    broke off). `at` is in seconds of the run.
    """

    group: str
    name: str
    at: float
    what: str

    def __str__(self) -> str:
        return f"{self.group} {self.name}: {self.what} (at {self.at:.3f} s)"


@frozen
class Verdict:
    """How a run of `scenario` with `seed` went, `on` the simulation (sim) or real servers (real).

    `recovered` is how many seconds after the healing everything that is to hold eventually held for good; None if it never
    did, or nothing is to. `missed` are faults whose event did not come, or too late for them to take place.
    `digest` is None on real servers: no two runs there are the same.
    """

    scenario: str
    seed: int
    passed: bool
    broken: tuple[Broken, ...]
    counts: Mapping[str, int]
    digest: str | None
    recovered: float | None
    bites: tuple[Bite, ...]
    seconds: float
    on: str = SIM
    missed: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One JSON document on one line."""
        return json.dumps(cattrs.unstructure(self), sort_keys=True)

    @property
    def names(self) -> frozenset[str]:
        """What was broken, as `group name`."""
        return frozenset(f"{one.group} {one.name}" for one in self.broken)

    def line(self) -> str:
        """One line for people."""
        word = "passed" if self.passed else "FAILED"
        counts = self.counts
        seen = f"{counts['faults']} faults, {counts['accepted']} jobs, {counts['finished']} finished"
        return f"{word}  {self.scenario}  seed {self.seed}  {self.seconds:.0f} s, {seen}  {self.likeness}"

    def __str__(self) -> str:
        """A few lines for people."""
        word = "passed" if self.passed else "FAILED"
        head = f"{word}  {self.scenario}  seed {self.seed}  {self.spent}"
        shown = ", ".join(f"{name} {count}" for name, count in self.counts.items() if count)
        recovery = "" if self.recovered is None else f"; recovered in {self.recovered:.1f} s"
        lines = [head, f"  {shown}{recovery}", *(f"  {broken}" for broken in self.broken)]
        if self.missed:
            lines.append(f"  did not take place, for want of their event: {', '.join(self.missed)}")
        return "\n".join([*lines, f"  {self.likeness}"])

    @property
    def spent(self) -> str:
        """How long it took, and of which time."""
        return f"{self.seconds:.0f} s " + ("of virtual time" if self.on == SIM else "on real servers")

    @property
    def likeness(self) -> str:
        """The first of the digest, or why there is none."""
        return "no digest: real time is never twice the same" if self.digest is None else f"digest {self.digest[:16]}"


class Always:
    """Looks at every moment; remembers the first time that each check failed."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._broken: dict[str, Broken] = {}

    def look(self, seen: Evidence) -> None:
        """Check the newest moment."""
        for name in self._names:
            if name not in self._broken and (what := CHECKS[name](seen)) is not None:
                self._broken[name] = Broken("always", name, seen.now, what)

    @property
    def broken(self) -> list[Broken]:
        """What did not hold, in the order of time."""
        return list(self._broken.values())


class Eventually:
    """Looks at moments after the healing; knows since when everything has held."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.since: float | None = None

    def look(self, seen: Evidence) -> bool:
        """Check the newest moment; return whether everything holds."""
        if any(CHECKS[name](seen) is not None for name in self.names):
            self.since = None
        elif self.since is None:
            self.since = seen.now
        return self.since is not None

    def broken(self, seen: Evidence) -> list[Broken]:
        """What does not hold now."""
        found = ((name, CHECKS[name](seen)) for name in self.names)
        return [Broken("eventually", name, seen.now, what) for name, what in found if what is not None]


def verdict_of(
    scenario: Scenario, seed: int, broken: Iterable[Broken], seen: Evidence, eventually: Eventually | None, **how: Any
) -> Verdict:
    """The verdict of a run that is over; `how` is the rest of its fields: digest, seconds, on."""
    what = tuple(broken)
    return Verdict(
        scenario=scenario.name,
        seed=seed,
        passed=not what,
        broken=what,
        counts=counted(seen),
        recovered=None if eventually is None else recovered(seen, eventually),
        bites=tuple(seen.bites),
        missed=tuple(seen.missed),
        **how,
    )


def judge(scenario: Scenario, seen: Evidence, always: Always, eventually: Eventually) -> list[Broken]:
    """Everything that did not hold in a run that came to its end."""
    took = recovered(seen, eventually)
    return [*always.broken, *eventually.broken(seen), *_sighted(scenario, seen), *_unexpected(scenario, seen, took)]


def _sighted(scenario: Scenario, seen: Evidence) -> Iterator[Broken]:
    for name in scenario.invariants.never:
        if (what := SIGHTINGS[name](seen)) is not None:
            yield Broken("never", name, seen.now, f"it was seen: {what}")
    for name in scenario.invariants.sometimes:
        if SIGHTINGS[name](seen) is None:
            what = "it was never seen, so the run shows nothing about it; let the faults bite"
            yield Broken("sometimes", name, seen.now, what)


def recovered(seen: Evidence, eventually: Eventually) -> float | None:
    """Seconds from the healing until everything held for good."""
    if seen.healed is None or eventually.since is None or not eventually.names:
        return None
    return max(0.0, eventually.since - seen.healed)


def _unexpected(scenario: Scenario, seen: Evidence, took: float | None) -> list[Broken]:
    counts, broken = counted(seen), []
    for name, bound in scenario.expect.counts.items():
        if not bound.least <= counts[name] <= bound.most:
            what = f"{counts[name]}, not {bound.least} to {bound.most}"
            broken.append(Broken("expect", name, seen.now, what))
    longest = scenario.expect.recovery
    if longest is not None and (took is None or took > longest):
        what = "it did not recover" if took is None else f"it took {took:.1f} s, not {longest:.1f} s at most"
        broken.append(Broken("expect", "recovery", seen.now, what))
    return broken
