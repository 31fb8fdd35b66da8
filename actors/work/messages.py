"""What the workers' roles say to one another.

worker_slot --SlotStarted--> lease_keeper            a new incarnation; what an earlier one held is over
dispatcher --ask Enrol--> lease_keeper               who we are, and where the claim sequences stand
dispatcher --ReportIn--> worker_slot --SlotFree--> dispatcher
dispatcher --Claimed--> lease_keeper                 before the jobs are handed out
dispatcher --Assign--> worker_slot
worker_slot --Finished--> lease_keeper               the outcome, to be recorded
worker_slot --SlotFree--> dispatcher
lease_keeper --LeaseLost--> worker_slot              stop: the job is no longer yours

A job is assigned to one incarnation of a slot, never to a path alone: whatever is in a mailbox when a slot restarts, the
keeper and the slot agree on which runs of it are over.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from forebay.backends.ports import Claim, Outcome, Release


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
    """A dispatcher has started: tell it if you are free. (What becomes free later says so by itself.)"""


@frozen
class SlotStarted:
    """This incarnation of a slot begins, with nothing in hand."""

    slot: str
    incarnation: int


@frozen
class SlotFree:
    """This incarnation of a slot can take a job."""

    slot: str
    incarnation: int


@frozen
class Assignment:
    """Which incarnation of which slot got which lease."""

    slot: str
    incarnation: int
    id: str
    epoch: int


@frozen
class Claimed:
    """The answer to claim call `sequence` of `worker` on `topic` has arrived, and is handed out like this.

    The call was sent at `sent` (monotonic seconds). `returned` goes back: no slot is free for it.
    """

    worker: str
    topic: str
    sequence: int
    sent: float
    assignments: tuple[Assignment, ...]
    returned: tuple[Release, ...] = ()


@frozen
class Assign:
    """Run this, if you are that incarnation."""

    incarnation: int
    claim: Claim = field(repr=False)


@frozen
class Finished:
    """An assigned job has ended, or was not begun; record it."""

    topic: str
    outcome: Outcome


@frozen
class LeaseLost:
    """The lease of this job is no longer ours: cancel its handler and forget its outcome."""

    topic: str
    id: str
    epoch: int
