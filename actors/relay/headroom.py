"""How the rate follows the room that the queue has left (row R8).

Below FULL_RATE free the rate falls in a straight line, and at STOP it is zero: the last tenth is for what is on its way when
the stop comes (a batch of every consumer), and for the queue's own work. Workers empty the queue meanwhile, so it goes on by
itself.
"""

from __future__ import annotations

from typing import Final

FULL_RATE: Final = 0.30
"""Free share of the queue's memory above which jobs flow at the full rate."""

STOP: Final = 0.10
"""Free share at and below which none do."""

ROOM_AGAIN: Final = 0.35
"""Free share from which on a queue that was filling counts as having room, so that one on the edge is not noted for ever."""

LOOK: Final = 1.0
"""Seconds between looks at an empty queue; the less room there is, the sooner the next. So the stop comes in time where a
second of the full rate, which is also the burst, takes less than FULL_RATE - STOP of the memory. What is more is refused by
the queue, and then waits in the log as in any outage."""

LOOK_CLOSELY: Final = 0.1
"""Seconds between looks at a queue that is filling: in so short a time a relay brings only little."""

PATIENCE: Final = 5.0
"""Seconds after which a look that has no answer is given up."""


def share_of_rate(free: float) -> float:
    """Return by what the rate is multiplied, 0 to 1, for a free share of the queue's memory."""
    return min(1.0, max(0.0, (free - STOP) / (FULL_RATE - STOP)))


def next_look(free: float) -> float:
    """Return the seconds to the next look."""
    return max(LOOK_CLOSELY, LOOK * (free - FULL_RATE) / (1.0 - FULL_RATE))


class Room:
    """What is known of the queue's room: the newest free share. None: nothing yet."""

    def __init__(self) -> None:
        self.free: float | None = None
        self.filling = False

    @property
    def share(self) -> float:
        """By what the rate is multiplied; 0 as long as nothing is known."""
        return 0.0 if self.free is None else share_of_rate(self.free)

    def see(self, free: float) -> str | None:
        """Take note of a look; return what it is to be noted as, if it changes the picture."""
        self.free = free
        if not self.filling and free < FULL_RATE:
            self.filling = True
            return "queue_filling"
        if self.filling and free >= ROOM_AGAIN:
            self.filling = False
            return "queue_has_room"
        return None
