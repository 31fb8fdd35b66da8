"""What the relay's own records ask of the log: ends, and snapshots of what has ended."""

from __future__ import annotations

from typing import Final

from forebay.backends.ports import Acks, Log

LOG_PATIENCE: Final = 15.0
"""Seconds that one try to write them, or to read them, may take."""


def strongest(log: Log, topic: str) -> Acks:
    """Return the most acks that the log offers for a topic."""
    return Acks.ALL if Acks.ALL in log.offers(topic) else Acks.LEADER
