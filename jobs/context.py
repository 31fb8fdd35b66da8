"""What a handler gets, and what it may raise to say how its job goes on."""

from __future__ import annotations

import json
import math
from functools import cached_property
from typing import Any

from attrs import field, frozen

Headers = tuple[tuple[str, bytes], ...]


@frozen
class JobContext:
    """One run of a job.

    `attempt` counts from 1, `max_attempts` is the total of runs allowed; `enqueued_at` is when the
    job was accepted (Unix ms). `raw` is `args` exactly as posted, byte for byte; `headers` are the
    record's headers that are not forebay's own (a trace context, for instance).
    """

    id: str
    type: str
    attempt: int
    max_attempts: int
    topic: str
    raw: bytes = field(repr=False)
    enqueued_at: int = 0
    headers: Headers = field(default=(), repr=False)

    @cached_property
    def args(self) -> Any:
        """`raw` decoded by `json.loads`, once: integers are exact, the last of duplicate keys wins.

        Raises `ValueError` if `raw` is not JSON, which only a producer that wrote forebay's headers
        itself can cause, or for an integer of more digits than `sys.get_int_max_str_digits()`.
        """
        return json.loads(self.raw)


class Fail(Exception):
    """Raised by a handler: this job cannot succeed; no further tries, it is dead at once."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RetryAfter(Exception):
    """Raised by a handler: try again after `seconds`, in place of the policy's own delay.

    The run counts as an attempt: after `max_attempts` the job is dead. Raises `ValueError` if
    `seconds` is negative or not finite.
    """

    def __init__(self, seconds: float, reason: str) -> None:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"RetryAfter takes seconds >= 0, not {seconds}")
        super().__init__(reason)
        self.seconds = seconds
        self.reason = reason
