"""Which instance comes first for a topic: rendezvous hashing over the instances that live (row R13).

Each instance has a weight for each topic, the living ones are ordered by it, and an instance is held back by its place in
that order before it tries a lock that is free. All compute the same order, each is first for its share of the topics, and
the end of an instance changes no order among the others. Source: Thaler and Ravishankar, "Using Name-Based Mappings to
Increase Hit Rates" (1998), highest random weight.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from forebay.backends.ports import Coordination

INSTANCES: Final = "forebay/instances/"
"""The prefix of the keys that living instances hold with a session."""


def instance_key(instance: str) -> str:
    """Return the key that an instance holds as long as it lives."""
    return INSTANCES + instance


def rank(topic: str, instance: str, living: Iterable[str]) -> int:
    """How many of the living come before `instance` for `topic`, which counts as living itself."""
    own = _weight(topic, instance)
    return sum(_weight(topic, other) > own for other in set(living))


def _weight(topic: str, instance: str) -> tuple[bytes, str]:
    """The same in every process: SHA-256 of both names, which have no character 0; the name breaks a tie."""
    return hashlib.sha256(f"{topic}\0{instance}".encode()).digest(), instance


@frozen
class Ranking:
    """One instance among those that live now. `step` is how long (seconds) each that comes before it holds it back."""

    coordination: Coordination
    instance: str
    step: float

    async def delay(self, topic: str) -> float:
        """Seconds that this instance leaves a free topic to those before it. Raises `Unavailable`."""
        entries = await self.coordination.under(INSTANCES)
        living = [entry.key.removeprefix(INSTANCES) for entry in entries if entry.session is not None]
        return rank(topic, self.instance, living) * self.step
