"""What a parked record is called: by where it lies in the log."""

from __future__ import annotations

from forebay.jobs.lanes import log_place


def parked_id(topic: str, partition: int, offset: int) -> str:
    """Return `<topic>/<partition>/<offset>` as the log knows it, for a partition by the number that the queue has for it."""
    name, number = log_place(topic, partition)
    return f"{name}/{number}/{offset}"
