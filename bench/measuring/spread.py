"""Several values of one thing in a line."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from attrs import frozen


@frozen
class Spread:
    """Median, least and greatest of the rounds."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise one value for each round."""
        return cls(median(values), min(values), max(values))
