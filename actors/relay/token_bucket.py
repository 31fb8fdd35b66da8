"""The token bucket: exact, and never early by more than a microsecond (Turner, "New Directions in Communications", 1986)."""

from __future__ import annotations

import math
from typing import Final

TICK: Final = 1e-6
"""Seconds by which a grant may come early. Timers round; without it one could fire a hair too soon for ever."""


class TokenBucket:
    """`rate` tokens/s flow in, at most `burst` are kept; `rate` None is no limit, 0 a pause: nothing is granted, and what is
    in the bucket waits for the next rate.

    It begins empty: whoever restarts it gains nothing. A taking larger than `burst` is granted when the bucket is full,
    and the rest is owed. So in any `t` seconds at most rate x (t + TICK) + max(burst, largest taking) are granted, and in
    the long run exactly `rate` per second. Times are monotonic seconds.
    """

    def __init__(self, rate: float | None, burst: float, now: float) -> None:
        if burst <= 0:
            raise ValueError(f"burst is {burst}; a bucket that holds nothing grants nothing")
        self.rate = rate
        self.burst = burst
        self._level = 0.0
        self._at = now

    def set_rate(self, rate: float | None, now: float) -> None:
        """Go on with another rate; what has flowed in until now stays."""
        self._fill(now)
        self.rate = rate

    def take(self, count: int, now: float) -> float:
        """Take `count` tokens and return 0.0, or take none and return after how many seconds to try again."""
        if self.rate is None:
            return 0.0
        self._fill(now)
        if self.rate == 0:
            return math.inf
        missing = min(count, self.burst) - self._level
        if missing <= self.rate * TICK:
            self._level -= count
            return 0.0
        return missing / self.rate

    def _fill(self, now: float) -> None:
        if self.rate is not None:
            self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
