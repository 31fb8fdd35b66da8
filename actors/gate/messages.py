"""What the gate's roles say to one another, and what an embedding program may say to the producer."""

from __future__ import annotations

from attrs import frozen

from forebay.backends.ports import Acks, NewRecord


@frozen
class Append:
    """Ask the producer to put records into the log.

    Answered with a tuple of offsets, in order, once `acks` holds; fails with the log's `BackendError`.
    """

    records: tuple[NewRecord, ...]
    acks: Acks
