"""One partition as its brokers keep it: who leads, who is in sync, what readers may see.

The rules are Kafka's. A leader takes records at once; readers see them, and `Acks.ALL` is answered, when every in-sync
replica has them: that is the high watermark. It never goes back, but by an unclean election. A broker that is gone leaves
the in-sync set, but for the last: only one of the set is elected cleanly, and a follower cuts off what its leader lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from forebay.backends.ports import Acks, Extent, NewRecord, Record
from forebay.scenarios.simulation.kafka_replica import Replica
from forebay.scenarios.simulation.network import NoAnswer, Refused

Told = Callable[[Exception | None], object]
"""Told how an append went: None when its acks hold."""

Moved = Callable[[tuple[str, int]], object]

NEVER: Final = -1  # the epoch before the first


class Partition:
    """`brokers` have a copy each, in order of preference. `moved` hears of every change for readers: a new high watermark,
    another leader or none. `cut` counts records that readers could see and that are gone; `dropped` are those that a
    follower had to cut off, whoever could see them.
    """

    def __init__(
        self, topic: str, number: int, brokers: Sequence[int], *, min_insync: int, compact: bool, moved: Moved
    ) -> None:
        self.topic = topic
        self.number = number
        self.replicas = {broker: Replica(compact=compact) for broker in brokers}
        self.min_insync = min_insync
        self._moved = moved
        self.leader: int | None = None
        self.epoch = NEVER
        self.insync = list(brokers)
        self.high = 0
        self.cut = 0
        self.dropped: list[Record] = []
        self._last = brokers[0]  # who led last
        self._has: dict[int, int] = {}  # follower -> the end of what it has of this leader
        self._waiting: list[tuple[int, Told]] = []

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.topic, self.number

    @property
    def log(self) -> Replica:
        """The leader's copy. Raises `Refused` while nobody leads."""
        if self.leader is None:
            raise Refused(f"{self.topic}/{self.number} has no leader")
        return self.replicas[self.leader]

    @property
    def extent(self) -> Extent:
        """What readers may see. Raises `Refused` while nobody leads."""
        return Extent(self.log.start, self.high)

    # --- leading

    def elect(self, living: Collection[int], *, unclean: bool) -> bool:
        """Give a partition that nobody leads a leader, if one is allowed to: the first of the in-sync set that lives, or
        else, if `unclean`, any that lives. Returns whether that was an unclean election.
        """
        if self.leader is not None:
            return False
        clean = [broker for broker in self.replicas if broker in living and broker in self.insync]
        if clean:
            self._lead(clean[0])
            return False
        rest = [broker for broker in self.replicas if broker in living] if unclean else []
        if rest:
            self._lead(rest[0], unclean=True)
        return bool(rest)

    def move(self, broker: int) -> bool:
        """Let another in-sync replica lead; False if this one may not."""
        if broker == self.leader or broker not in self.insync:
            return False
        self.depose(Refused(f"{self.topic}/{self.number} is led by another broker"))
        self._lead(broker)
        return True

    def depose(self, why: Exception) -> None:
        """Let nobody lead."""
        self.leader = None
        self.abandon(why)

    def abandon(self, why: Exception) -> None:
        """End the appends that wait for replicas with `why`, and have readers look again."""
        waiting, self._waiting = self._waiting, []
        for _, told in waiting:
            told(why)
        self._moved(self.place)

    def drop(self, broker: int) -> None:
        """Take a broker out of the in-sync set, unless it is the last."""
        if broker in self.insync and len(self.insync) > 1:
            self.insync.remove(broker)
            self._advance()

    def behind(self, broker: int) -> bool:
        """Whether a follower lacks something of the leader's."""
        return self.leader not in (None, broker) and self._has.get(broker, -1) < self.log.end

    def _lead(self, broker: int, *, unclean: bool = False) -> None:
        self.leader = broker
        self.epoch += 1
        if unclean:
            before = self.replicas[self._last]
            same = self.log.agreed(before)
            self.cut += len(before.between(same, self.high))
            self.insync, self.high = [broker], min(self.high, same)
        self._last = broker
        self._has = dict.fromkeys(self.insync, self.high)  # each of them has that much at least
        self._advance()
        self._moved(self.place)

    # --- writing

    def append(self, records: Sequence[NewRecord], now: int, acks: Acks, told: Told) -> int:
        """Take records, stamped `now` (Unix ms), and return the first one's offset. `told` is called as soon as `acks` hold,
        or cannot any more. Raises `Refused` without a leader, or with too few in sync for `Acks.ALL`: nothing was written.
        """
        log = self.log
        if acks is Acks.ALL and len(self.insync) < self.min_insync:
            raise Refused(f"{self.topic}/{self.number} has {len(self.insync)} replicas in sync and needs {self.min_insync}")
        first = log.end
        for one in records:
            log.append(Record(*self.place, log.end, now, one.value, one.key, one.headers, self.epoch))
        if acks is Acks.ALL:
            self._waiting.append((log.end, told))
        else:
            told(None)
        self._advance()
        return first

    def follow(self, broker: int) -> int:
        """Let a follower take what it lacks; it is in sync then. Returns how many records it had to cut off."""
        replica = self.replicas[broker]
        cut = replica.follow(self.log)
        self.dropped += cut
        replica.compact(self.high)
        self._has[broker] = replica.end
        if broker not in self.insync:
            self.insync.append(broker)
        self._advance()
        return len(cut)

    def _advance(self) -> None:
        """Move the high watermark to where all in-sync replicas are, and tell those who waited for it."""
        if self.leader is None:
            return
        ends = [self.log.end if one == self.leader else self._has.get(one, 0) for one in self.insync]
        if min(ends) > self.high:
            self.high = min(ends)
            self.log.compact(self.high)
            self._moved(self.place)
        done = [told for end, told in self._waiting if end <= self.high]
        self._waiting = [one for one in self._waiting if one[0] > self.high]
        short = len(self.insync) < self.min_insync
        for told in done:
            told(NoAnswer("written, and then too few replicas were in sync") if short else None)

    # --- reading

    def read(self, offset: int, limit: int) -> Sequence[Record]:
        """Return what readers may see from an offset on, at most `limit` records."""
        return self.log.between(offset, self.high, limit)

    def lost(self) -> list[Record]:
        """The records that were taken once and that the leader has not: cut off, or still on a follower that has not asked
        the leader since. Raises `Refused` while nobody leads.
        """
        led = {id(record) for record in self.log.between(self.log.start, self.log.end)}
        copies = (one.between(one.start, one.end) for one in self.replicas.values())
        return [record for copy in (self.dropped, *copies) for record in copy if id(record) not in led]

    def holds(self, offset: int) -> bool:
        """Whether a reader may stand at an offset; what the leader alone has counts."""
        return self.log.start <= offset <= self.log.end

    def expire(self, before: int) -> None:
        """Remove what readers may see and is older than `before` (Unix ms)."""
        self.log.expire(before, self.high)

    def forget(self, before: int) -> None:
        """Remove what readers may see below an offset."""
        self.log.forget(min(before, self.high))
