"""A run that is over, with everything that tells how it came to its verdict."""

from __future__ import annotations

from attrs import frozen

from forebay.actors.snapshot import Node
from forebay.scenarios.replay.evidence import Evidence
from forebay.scenarios.replay.verdict import Verdict
from forebay.scenarios.streams import Tape
from forebay.scenarios.trace import Trace


@frozen
class Told:
    """Its verdict, what was seen, every draw, every event (None if there was none yet), and the hosts' trees at the end."""

    verdict: Verdict
    seen: Evidence
    tape: Tape
    trace: Trace | None
    trees: dict[str, Node | None]
