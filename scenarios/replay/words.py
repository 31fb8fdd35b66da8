"""Everything that a scenario file can name, told for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from forebay.scenarios.replay.counts import COUNTS
from forebay.scenarios.replay.invariants import CHECKS
from forebay.scenarios.replay.sightings import SIGHTINGS
from forebay.scenarios.replay.verbs import VERBS


def vocabulary() -> Iterator[str]:
    """The lines to print, group by group."""
    yield "faults (do:)"
    for name, verb in VERBS.items():
        args = "".join(f" {argument}" for argument in verb.args)
        yield _line(name + args, verb.about + (" Over at once." if verb.end is None else ""))
    yield "checks (always:, eventually:)"
    yield from _described(CHECKS)
    yield "sightings (sometimes:, never:)"
    yield from _described(SIGHTINGS)
    yield "figures (expect: counts:)"
    yield "  " + ", ".join(COUNTS)


def _described(named: Mapping[str, Any]) -> Iterator[str]:
    for name, function in named.items():
        yield _line(name, (function.__doc__ or "").strip().split("\n")[0])


def _line(name: str, about: str) -> str:
    return f"  {name:38} {about}".rstrip()
