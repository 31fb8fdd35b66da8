"""What a scenario is played on: a system that can be posted to, broken, healed and looked at."""

from __future__ import annotations

from typing import Protocol

from forebay.scenarios.replay.evidence import Evidence, Moment
from forebay.scenarios.replay.plan import Stroke
from forebay.scenarios.replay.workload import Job


class Stage(Protocol):
    """A running system. `seen` is filled by the stage as things happen; moments and bites are added by who plays."""

    seen: Evidence

    async def post(self, job: Job) -> None:
        """Post one job and note in `seen` what became of it: accepted, refused or unknown; raise nothing of that."""

    async def begin(self, stroke: Stroke) -> bool:
        """Do what the stroke says; return whether it changed anything."""

    async def end(self, stroke: Stroke) -> None:
        """Undo it."""

    async def heal(self) -> None:
        """Bring everything up that is down, whatever brought it down."""

    async def look(self) -> Moment:
        """How the system is now; everything in `seen` is up to date with it."""
