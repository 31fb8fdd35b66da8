"""The two lanes of a topic in the log: its own partitions, and those of its retry topic, where jobs in error go. Beside them
lie the topics of its ends and of the snapshots of what has ended.

The queue knows both by one number for each partition. Those of the retry lane begin above the largest number that a topic's
own partitions can have, so that a topic which gets more partitions never meets the marks of its retry lane.
"""

from __future__ import annotations

from typing import Final

MAX_PARTITIONS: Final = 10_000
"""Partitions of one topic at most; the numbers of its retry lane begin here."""

RETRY_SUFFIX: Final = ".retry"
ENDS_SUFFIX: Final = ".ends"
SETTLED_SUFFIX: Final = ".settled"


def retry_topic(topic: str) -> str:
    """Return the log's topic to which the jobs of `topic` go that the queue refused; it has as many partitions."""
    return topic + RETRY_SUFFIX


def ends_topic(topic: str) -> str:
    """Return the log's topic where the dead jobs and the parked records of `topic` are kept; it has as many partitions."""
    return topic + ENDS_SUFFIX


def settled_topic(topic: str) -> str:
    """Return the log's topic for the snapshots of what has ended of `topic`; it has as many partitions."""
    return topic + SETTLED_SUFFIX


def retry_mark(partition: int) -> int:
    """Return the number by which the queue knows a partition of the retry lane."""
    return MAX_PARTITIONS + partition


def log_place(topic: str, mark: int) -> tuple[str, int]:
    """Return the log's topic and partition that the queue knows by the number `mark`."""
    return (topic, mark) if mark < MAX_PARTITIONS else (retry_topic(topic), mark - MAX_PARTITIONS)
