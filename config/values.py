"""Values of supervision and mailboxes: checked, immutable, settable from YAML where it says so."""

from __future__ import annotations

import enum
import random as random_module

from attrs import frozen

from forebay.jobs.policy import check_jitter_bounds, full_jitter

from .kinds import duration, integer, setting


@frozen
class Intensity:
    """A restart budget: more than `max_restarts` incidents within `period` seconds escalate.

    As in Erlang's supervisor.erl the window is exact, and the restart of a group is one incident.
    """

    max_restarts: int = setting(integer(0, 1_000_000), default=3)
    period: float = setting(duration(0.001), default=5.0)


@frozen
class Backoff:
    """How long a restart waits, in seconds: exponential from `base` to `cap`, with full jitter."""

    base: float = setting(duration(0.001), default=0.1)
    cap: float = setting(duration(0.001), default=30.0)

    def __attrs_post_init__(self) -> None:
        check_jitter_bounds(self.base, self.cap)

    def delay(self, failures: int, random: random_module.Random) -> float:
        """Seconds to wait after `failures` in a row (from 1); see `full_jitter`."""
        return full_jitter(self.base, self.cap, failures, random)


class Overflow(enum.Enum):
    """What a full mailbox does with one more message. Every drop is an event."""

    BLOCK = "block"
    """`send` waits for room; `tell` raises MailboxFull."""
    REJECT = "reject"
    """Both raise MailboxFull."""
    DROP_OLDEST = "drop_oldest"
    """The oldest waiting message goes to the dead letters."""
    DROP_NEWEST = "drop_newest"
    """The message that does not fit goes to the dead letters."""
    COALESCE = "coalesce"
    """It takes the place of the waiting message that it supersedes."""
