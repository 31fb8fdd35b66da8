"""The clock port on virtual time."""

from __future__ import annotations

from collections.abc import Callable

EPOCH_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z: every simulated world begins then


class VirtualClock:
    """`forebay.backends.ports.Clock` on a virtual loop's time; one per simulated host.

    `skew_ms` is how far this host's wall clock is off, in milliseconds; it may be set at any
    time, and the wall then jumps, as a real one does. `monotonic` never jumps.
    """

    def __init__(self, now: Callable[[], float], skew_ms: int = 0) -> None:
        """`now` gives seconds of virtual time: a loop's `time`."""
        self._now = now
        self.skew_ms = skew_ms

    def monotonic(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now()

    def wall(self) -> int:
        """Unix time in milliseconds: a fixed epoch, plus virtual time to the nearest
        millisecond, plus the skew.
        """
        return EPOCH_MS + round(self._now() * 1000) + self.skew_ms
