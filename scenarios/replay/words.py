"""Everything that a scenario file can name, told for people."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from inspect import getdoc
from typing import Any, Final

from forebay.scenarios.replay.checks import EVENTS
from forebay.scenarios.replay.counts import COUNTS
from forebay.scenarios.replay.invariants import CHECKS, SIMULATED
from forebay.scenarios.replay.sightings import SIGHTINGS, UNSEEN
from forebay.scenarios.replay.verbs import VERBS
from forebay.scenarios.replay.verdict import SIM

BOTH: Final = "both"


def vocabulary(real: Container[str]) -> Iterator[str]:
    """The lines to print, group by group; `real` are the verbs that real servers have too.

    Between a name and what it says stands where it works: `sim` or `both`.
    """
    yield "faults (do:)"
    for name, verb in VERBS.items():
        args = "".join(f" {argument}" for argument in verb.args)
        about = verb.about + (" Over at once." if verb.end is None else "")
        yield _line(name + args, BOTH if name in real else SIM, about)
    yield "checks (always:, eventually:)"
    yield from _described(CHECKS, SIMULATED)
    yield "sightings (sometimes:, never:)"
    yield from _described(SIGHTINGS, UNSEEN)
    yield "events (when: {event: ...})"
    yield from _described(EVENTS)
    yield "figures (expect: counts:)"
    for name, count in COUNTS.items():
        yield _line(name, BOTH, count.about)


def _described(named: Mapping[str, Any], simulated: Container[str] = ()) -> Iterator[str]:
    for name, function in named.items():
        about = getdoc(function) or ""
        yield _line(name, SIM if name in simulated else BOTH, " ".join(about.split("\n\n")[0].split()))


def _line(name: str, where: str, about: str) -> str:
    return f"  {name:38} {where:5} {about}".rstrip()
