"""A clock that stands still until a test moves it."""


class ManualClock:
    """The `Clock` port under a test's control."""

    def __init__(self, wall: int = 1_700_000_000_000) -> None:
        self._seconds = 1000.0
        self._wall = wall

    def monotonic(self) -> float:
        return self._seconds

    def wall(self) -> int:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks."""
        self._seconds += seconds
        self._wall += round(seconds * 1000)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; no time passes."""
        self._wall += round(seconds * 1000)
