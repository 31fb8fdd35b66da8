"""An end other than done, as the queue tells of it until the log has it (docs/semantics.md, "Terms and marks")."""

from __future__ import annotations

from typing import Final, Literal

from attrs import field, frozen

MAX_BYTES: Final = 1 << 20
"""Bytes of the ends that a queue tells of at a time, or one end with more."""


@frozen
class End:
    """A dead job, or a record that was parked `at` that time (Unix ms).

    `partition` is the queue's number for it, `value` a job's arguments or a record's bytes. A parked record has its place as
    its id, and neither type nor attempts.
    """

    kind: Literal["dead", "parked"]
    id: str
    type: str
    partition: int
    offset: int
    attempt: int
    error: str
    at: int
    value: bytes = field(repr=False)
    headers: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
