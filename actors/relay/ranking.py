"""Which instance comes first for a topic: rendezvous hashing over the instances that live and have room (row R13).

Each instance has a weight for each topic, the living ones are ordered by it, and an instance is held back by its place in
that order before it tries a lock that is free. All compute the same order, each is first for its share of the topics, and
the end of an instance changes no order among the others. Who holds an even share already comes after all who do not, so
none is loaded beyond that as long as another can take the topic.

Sources: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (1998), highest random weight; Mirrokni,
Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2018).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen

from forebay.actors.relay.campaign import LOCKS
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
class Spread:
    """Which instances live, and who holds each topic that is held."""

    living: frozenset[str]
    holders: Mapping[str, str]

    def place(self, topic: str, instance: str) -> int:
        """How many of the living come before `instance` for `topic`, which is free; it counts as living itself."""
        living = self.living | {instance}
        held = Counter(self.holders.values())
        share = _share(len(self.holders) + 1, living)
        room = {one for one in living if held[one] < share}
        if instance in room:
            return rank(topic, instance, room)
        return len(room) + rank(topic, instance, living - room)

    def over(self, instance: str) -> Sequence[str]:
        """The topics of an instance that holds more than an even share, those first that others come before it for."""
        mine = [topic for topic, holder in self.holders.items() if holder == instance]
        living = self.living | {instance}
        if len(mine) <= _share(len(self.holders), living):
            return ()
        return sorted(mine, key=lambda topic: (-rank(topic, instance, living), topic))


def _share(topics: int, living: frozenset[str]) -> int:
    return -(-topics // len(living))


async def spread(coordination: Coordination) -> Spread:
    """Return how the topics are spread now. Raises `Unavailable`."""
    instances = await coordination.under(INSTANCES)
    locks = await coordination.under(LOCKS)
    return Spread(
        frozenset(entry.key.removeprefix(INSTANCES) for entry in instances if entry.session is not None),
        {entry.key.removeprefix(LOCKS): entry.value.decode() for entry in locks if entry.session is not None},
    )


@frozen
class Ranking:
    """One instance among those that live now. `step` is how long (seconds) each that comes before it holds it back."""

    coordination: Coordination
    instance: str
    step: float

    async def delay(self, topic: str) -> float:
        """Seconds that this instance leaves a free topic to those before it. Raises `Unavailable`."""
        return (await spread(self.coordination)).place(topic, self.instance) * self.step
