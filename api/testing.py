"""For tests of one's own actors: one actor step by step, or a whole tree, under virtual time.

`ActorHarness` runs a single actor among probes, from plain synchronous tests or beside a running loop. `run_virtual` and
`virtual_runtime` run a tree in which hours cost milliseconds and the same seed gives the same run; there `crash` makes an
actor fail, `until_event` waits for what follows, and `record` keeps a trace with a digest. `World` is a whole system on
simulated services; it needs the extra `simulation`. docs/testing.md shows each.
"""

from typing import TYPE_CHECKING, Any

from forebay.scenarios.fences import Fenced
from forebay.scenarios.harness import ActorHarness, Probe
from forebay.scenarios.loop import Deadlock, Livelock, OutOfTime, Stuck, loop_factory
from forebay.scenarios.trace import Difference, Entry, Trace, first_difference
from forebay.scenarios.virtual import (
    Crash,
    NoSuchEvent,
    crash,
    record,
    run_virtual,
    until_event,
    virtual_runtime,
)

if TYPE_CHECKING:
    from forebay.scenarios.simulation.world import World

__all__ = [
    "ActorHarness",
    "Crash",
    "Deadlock",
    "Difference",
    "Entry",
    "Fenced",
    "Livelock",
    "NoSuchEvent",
    "OutOfTime",
    "Probe",
    "Stuck",
    "Trace",
    "World",
    "crash",
    "first_difference",
    "loop_factory",
    "record",
    "run_virtual",
    "until_event",
    "virtual_runtime",
]


def __getattr__(name: str) -> Any:
    if name == "World":
        from forebay.scenarios.simulation.world import World  # noqa: PLC0415 - it needs a package that the rest does without

        return World
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
