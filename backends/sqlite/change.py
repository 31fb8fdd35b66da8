"""What an operation on the queue answers beside its result."""

from typing import Generic, TypeVar

from attrs import frozen

T = TypeVar("T")


@frozen
class Change(Generic[T]):
    """`value` for the caller; `readied` jobs became claimable, for those who wait."""

    value: T
    readied: int = 0
