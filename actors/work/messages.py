"""What the workers' roles say to one another.

dispatcher --ask Enrol--> lease_keeper               who we are, and where the claim sequences stand
dispatcher --ReportIn--> worker_slot --SlotFree--> dispatcher
dispatcher --Claimed--> lease_keeper                 before the jobs are handed out
dispatcher --Assign--> worker_slot
worker_slot --Finished--> lease_keeper               the outcome, to be recorded
worker_slot --SlotFree--> dispatcher
lease_keeper --LeaseLost--> worker_slot              stop: the job is no longer yours
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from forebay.actors.ref import Ref
from forebay.backends.ports import Claim, Outcome


@frozen
class Enrol:
    """Asked by a dispatcher when it starts."""


@frozen
class Enrolled:
    """`worker` names this pool for the lease_keeper's life; `received` is the last claim sequence known, per topic."""

    worker: str
    received: Mapping[str, int]


@frozen
class ReportIn:
    """A dispatcher has started: tell it whether you are free, now and whenever you become so."""

    dispatcher: Ref[Any]


@frozen
class SlotFree:
    """This slot can take a job."""

    slot: str


@frozen
class Assignment:
    """Which slot got which lease."""

    slot: str
    id: str
    epoch: int


@frozen
class Claimed:
    """The answer to claim call `sequence` on `topic` has arrived, and will be handed out like this."""

    topic: str
    sequence: int
    assignments: tuple[Assignment, ...]


@frozen
class Assign:
    """Run this."""

    claim: Claim = field(repr=False)


@frozen
class Finished:
    """A handler has ended; record it."""

    topic: str
    slot: str
    outcome: Outcome


@frozen
class LeaseLost:
    """The lease of this job is no longer ours: cancel its handler and forget its outcome."""

    topic: str
    id: str
    epoch: int
