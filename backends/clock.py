"""The real clock. Only the entry points put it in; all else takes a `Clock` as a value."""

import time


class SystemClock:
    """The `Clock` port on the machine's own clocks."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary instant; never goes back."""
        return time.monotonic()

    def wall(self) -> int:
        """Unix time in milliseconds; jumps when the machine's clock is set."""
        return time.time_ns() // 1_000_000  # noqa: TID251 - the one place that reads it
