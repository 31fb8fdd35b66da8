"""How often and how late a failed job is tried again."""

from __future__ import annotations

import math
import random as random_module

from attrs import Attribute, field, frozen

MIN_BASE = 0.001
MAX_CAP = 366 * 86_400.0
_MAX_DOUBLINGS = 62  # MIN_BASE doubled 62 times is past any cap; keeps the power finite


def full_jitter(base: float, cap: float, failures: int, random: random_module.Random) -> float:
    """A delay in seconds, drawn evenly from 0 to min(cap, base x 2^(failures - 1)).

    `failures` counts from 1. Source: "Exponential Backoff And Jitter" (AWS Architecture Blog,
    2015), the variant named full jitter: of those compared there it makes the fewest calls.
    """
    if failures < 1:
        raise ValueError(f"failures counts from 1, not {failures}")
    ceiling = min(cap, base * 2.0 ** min(failures - 1, _MAX_DOUBLINGS))
    return random.uniform(0.0, ceiling)


def check_jitter_bounds(base: float, cap: float) -> None:
    """Raise `ValueError` unless 1 ms <= base <= cap <= 366 days (all in seconds)."""
    if not (math.isfinite(base) and base >= MIN_BASE):
        raise ValueError(f"base is {base} s; it must be at least {MIN_BASE} s")
    if not base <= cap <= MAX_CAP:
        raise ValueError(f"cap is {cap} s; it must be from base ({base} s) to {MAX_CAP:.0f} s")


@frozen
class RetryPolicy:
    """When a failed job runs again: exponential backoff with full jitter.

    `max_attempts` is the total number of runs, the first one included; `base` and `cap` are
    seconds. Raises `ValueError` for values that make no sense.
    """

    max_attempts: int = field(default=5)
    base: float = 1.0
    cap: float = 3600.0

    @max_attempts.validator
    def _check_attempts(self, _attribute: Attribute[int], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"max_attempts is {value!r}; it is the total of runs, a whole number >= 1")

    def __attrs_post_init__(self) -> None:
        check_jitter_bounds(self.base, self.cap)

    def delay(self, attempt: int, random: random_module.Random) -> float:
        """Seconds to wait after run number `attempt` (from 1) failed: 0 to min(cap, base x 2^n)."""
        return full_jitter(self.base, self.cap, attempt, random)

    def exhausted(self, attempt: int) -> bool:
        """True if run number `attempt` (from 1) was the last one allowed."""
        return attempt >= self.max_attempts
