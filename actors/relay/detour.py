"""Where a job goes that the queue refuses: back into the log, to be tried again later, or aside for a person (row R6)."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final

from forebay.backends.ports import NewRecord, ParkedRecord, Record
from forebay.jobs import DecodedJob, Undecodable, decode, encode_again
from forebay.jobs.envelope import storable
from forebay.jobs.lanes import retry_topic

RETRY_AFTER: Final = (1.0, 5.0, 25.0, 125.0)
"""Seconds from a job's return to the log until it is tried again, for each time; who is refused after these is parked."""


def put_back(topic: str, record: Record, error: str) -> NewRecord | None:
    """Return the record that brings a refused job again, through the retry topic of `topic`; None once it had all its tries.

    Arguments, id and all else stay; the attempt count grows by one, and the error is the last one (R10).
    """
    job = read_job(record)
    if job.attempt >= len(RETRY_AFTER):
        return None
    value, headers = encode_again(job, storable(error), job.not_before)
    return NewRecord(retry_topic(topic), record.partition, value, record.key, headers)


class LogTime:
    """What time it is where the log is, as the records tell that it took: it is at least that late.

    The clock of this host may be hours wrong. One that is ahead would use up a job's tries at once; one that is behind would
    let it wait for hours.
    """

    def __init__(self) -> None:
        self._ahead = -inf

    def after(self, records: Iterable[Record], now: float) -> float:
        """Return the time in Unix ms when these have come. `now` is in monotonic seconds."""
        latest = max(record.timestamp for record in records)
        self._ahead = max(self._ahead, latest - now * 1000)
        return now * 1000 + self._ahead


def seconds_until_due(record: Record, now: float) -> float:
    """Return for how long a record of the retry topic must wait (0.0: it is due). `now` is a `LogTime`, in Unix ms.

    The wait is counted from when the log took the record.
    """
    try:
        attempt = read_job(record).attempt
    except Undecodable:
        return 0.0
    wait = RETRY_AFTER[min(attempt, len(RETRY_AFTER)) - 1] if attempt else 0.0
    return max(0.0, wait - (now - record.timestamp) / 1000)


def set_aside(record: Record, error: str) -> ParkedRecord:
    """Return the record to be parked as it is."""
    return ParkedRecord(record.offset, storable(error), record.value, record.headers)


def name_aside(record: Record, error: str) -> ParkedRecord:
    """Return the record to be parked by its place and its error alone: what it holds stays in the log."""
    place = f"{record.topic}/{record.partition}/{record.offset}"
    return ParkedRecord(record.offset, storable(f"its bytes are in the log alone, at {place}: {error}"), b"")


def read_job(record: Record) -> DecodedJob:
    """Return the job in a record. Raises `Undecodable`."""
    return decode(record.topic, record.partition, record.offset, record.timestamp, record.value, record.headers)
