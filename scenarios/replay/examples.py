"""How a problem names what it is about: so many, and the first few of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SHOWN: Final = 3
"""So many examples are named in a problem."""


def some(found: Sequence[str], what: str) -> str | None:
    """Return what is wrong with those that were found; None where there are none."""
    if not found:
        return None
    more = ", ..." if len(found) > SHOWN else ""
    return f"{len(found)} {what}: {', '.join(found[:SHOWN])}{more}"
