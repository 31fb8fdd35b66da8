"""The restart budget: an exact sliding window, counted per incident (supervisor.erl, add_restart)."""

from __future__ import annotations

from collections import deque

from forebay.config.values import Intensity


class RestartWindow:
    """Remembers the instants of the last incidents; exact, not bucketed."""

    __slots__ = ("_incidents", "_intensity")

    def __init__(self, intensity: Intensity) -> None:
        self._intensity = intensity
        self._incidents: deque[float] = deque()

    def add(self, now: float) -> bool:
        """Count an incident at `now` (seconds); return whether the budget still holds."""
        self._incidents.append(now)
        while self._incidents[0] < now - self._intensity.period:
            self._incidents.popleft()
        return len(self._incidents) <= self._intensity.max_restarts
