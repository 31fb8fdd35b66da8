"""A job's record, read outside the scripts; base.lua says how it is written."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from forebay.backends.ports import JobState
from forebay.backends.redis.codec import STATES

_NUMBERS: Final = 10
_STRINGS: Final = 3


@frozen
class JobRecord:
    """Where a job stands."""

    state: JobState
    ready_at: int
    follows: bool
    partition: int
    offset: int
    attempt: int
    dedup: str | None
    error: str

    @property
    def due(self) -> int | None:
        """When it may start (Unix ms), if it waits for a time."""
        waits = self.state in (JobState.DELAYED, JobState.RETRYING) and not self.follows
        return self.ready_at if waits else None


def read_record(text: bytes) -> JobRecord:
    """Return a record of the hash `states`."""
    *fields, strings = text.split(b" ", _NUMBERS + _STRINGS)
    state, ready_at, _, follows, partition, offset, _, attempt, *_ = map(int, fields)
    *_, of_dedup, of_error = map(int, fields)
    rest, error = strings[: len(strings) - of_error], strings[len(strings) - of_error :]
    marked = rest[len(rest) - of_dedup :].decode()
    dedup = marked.removeprefix("=") if marked else None
    return JobRecord(
        STATES[state], ready_at, bool(follows), partition, offset, attempt, dedup, error.decode(errors="replace")
    )
