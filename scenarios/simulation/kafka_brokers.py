"""The brokers of a simulated cluster: which run, who leads what, and how copies follow their leaders.

A broker that is killed keeps its disk; the controller takes it for gone after `session_timeout`, and elects. One that is
stopped hands its partitions over first. Followers take what their leader has a trip later; one that lags leaves the in-sync
sets after `LAG_MAX`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import define

from forebay.scenarios.simulation.kafka_partition import Partition
from forebay.scenarios.simulation.kafka_topics import Topic
from forebay.scenarios.simulation.network import Held, Network, Networked, NoAnswer, Refused

LAG_MAX: Final = 30.0
"""Seconds that a follower may be behind and in sync (`replica.lag.time.max.ms`)."""

Place = tuple[str, int]


@define
class Broker:
    """`up`: its process runs. `known`: the controller counts on it. `lags`: its copies do not follow."""

    zone: str
    up: bool = True
    known: bool = True
    lags: bool = False
    notice: asyncio.TimerHandle | None = None
    expulsion: asyncio.TimerHandle | None = None


class Brokers(Networked):
    """Brokers by number, each in the zone that `zones` names. `counts` tells what happened: elections, unclean_elections,
    cut (records that readers could see, and that an election lost), truncated (records that a follower had to cut off).
    """

    def __init__(self, network: Network, zones: Mapping[int, str], session_timeout: float, *, unclean: bool) -> None:
        super().__init__(network)
        self.zones = dict(zones)
        self.topics: dict[str, Topic] = {}
        self.held: Held[Place] = Held(network)
        self.counts: Counter[str] = Counter()
        self._brokers = {number: Broker(zone) for number, zone in zones.items()}
        self._session_timeout = session_timeout
        self._unclean = unclean
        self._following: dict[tuple[Place, int], None] = {}

    @property
    def brokers(self) -> tuple[int, ...]:
        """All brokers."""
        return tuple(self._brokers)

    @property
    def alive(self) -> tuple[int, ...]:
        """The brokers that run."""
        return tuple(number for number, broker in self._brokers.items() if broker.up)

    @property
    def living(self) -> tuple[int, ...]:
        """The brokers that the controller counts on; one of them may be down since."""
        return tuple(number for number, broker in self._brokers.items() if broker.known)

    def served(self, partition: Partition) -> Partition:
        """Return it if its leader is there to serve it. Raises `Refused`."""
        if partition.leader is None or not self._brokers[partition.leader].up:
            raise Refused(f"{partition.topic}/{partition.number} has no leader")
        return partition

    # --- what happens to them

    def kill(self, broker: int) -> None:
        """As `kill -9`: its connections break, and nobody else hears of it. Its disk stays."""
        one = self._brokers[broker]
        if not one.up:
            return
        one.up = False
        for partition in self._led_by(broker):
            partition.abandon(NoAnswer(f"broker {broker} was killed"))
        one.notice = self.network.later(self._session_timeout, self._leave, broker)

    def stop(self, broker: int) -> None:
        """As an orderly shutdown: who else is in sync takes over first."""
        one = self._brokers[broker]
        if not one.up:
            return
        one.known = False
        for partition in self._led_by(broker):
            other = next((other for other in partition.insync if other in self.living), None)
            if other is not None:
                self._move(partition, other)
        one.up = False
        self._leave(broker)

    def start(self, broker: int) -> None:
        """Start it, with the disk that it has."""
        one = self._brokers[broker]
        if one.up:
            return
        if one.notice is not None:
            one.notice.cancel()
        if one.known:  # nobody had noticed before it came back
            self._leave(broker)
        one.up = one.known = True
        self.elect()

    def kill_zone(self, zone: str) -> None:
        """Kill every broker of a zone. Raises `LookupError` for no zone."""
        for broker in self._in_zone(zone):
            self.kill(broker)

    def start_zone(self, zone: str) -> None:
        """Start every broker of a zone. Raises `LookupError` for no zone."""
        for broker in self._in_zone(zone):
            self.start(broker)

    def start_all(self) -> None:
        """Start every broker that is down."""
        for broker in self._brokers:
            self.start(broker)

    def restart(self, seconds: float) -> None:
        """Kill every broker, and start all after so many seconds."""
        for broker in self._brokers:
            self.kill(broker)
        self.network.later(seconds, self.start_all)

    def lag(self, broker: int) -> None:
        """Let its copies follow no more."""
        one = self._brokers[broker]
        if not one.lags:
            one.lags = True
            one.expulsion = self.network.later(LAG_MAX, self._expel, broker)

    def catch_up(self, broker: int) -> None:
        """Let its copies follow again."""
        one = self._brokers[broker]
        one.lags = False
        if one.expulsion is not None:
            one.expulsion.cancel()
        self.spread(*self._partitions())

    def set_unclean(self, allowed: bool) -> None:
        """Allow unclean elections, or not; where nobody leads, one is held at once."""
        self._unclean = allowed
        self.elect()

    # --- elections

    def elect(self) -> None:
        """Give every partition a leader that can have one."""
        for partition in self._partitions():
            if partition.leader is None:
                cut = partition.cut
                self.counts["unclean_elections"] += partition.elect(self.living, unclean=self._unclean)
                self.counts["elections"] += partition.leader is not None
                self.counts["cut"] += partition.cut - cut
        self.spread(*self._partitions())

    def _move(self, partition: Partition, broker: int) -> bool:
        moved = partition.move(broker)
        self.counts["elections"] += moved
        self.spread(partition)
        return moved

    def _leave(self, broker: int) -> None:
        """The controller gives a broker up."""
        self._brokers[broker].known = False
        for partition in self._partitions():
            if partition.leader == broker:
                partition.depose(NoAnswer(f"broker {broker} has gone"))
            partition.drop(broker)
        self.elect()

    def _expel(self, broker: int) -> None:
        for partition in self._partitions():
            if partition.behind(broker):
                partition.drop(broker)
        self._brokers[broker].expulsion = self.network.later(LAG_MAX, self._expel, broker)

    # --- replication

    def spread(self, *partitions: Partition) -> None:
        """Have the followers take what they lack, each a trip later."""
        for partition in partitions:
            for broker in partition.replicas:
                step = (partition.place, broker)
                if self._follows(partition, broker) and step not in self._following:
                    self._following[step] = None
                    self.network.later(self.network.trip(), self._follow, partition, broker)

    def _follows(self, partition: Partition, broker: int) -> bool:
        one, leader = self._brokers[broker], partition.leader
        if leader in (None, broker) or not self._brokers[leader].up:
            return False
        return one.up and one.known and not one.lags and (partition.behind(broker) or broker not in partition.insync)

    def _follow(self, partition: Partition, broker: int) -> None:
        del self._following[partition.place, broker]
        if self._follows(partition, broker):
            self.counts["truncated"] += partition.follow(broker)

    def _led_by(self, broker: int) -> Sequence[Partition]:
        return [partition for partition in self._partitions() if partition.leader == broker]

    def _partitions(self) -> Iterator[Partition]:
        return (partition for topic in self.topics.values() for partition in topic.partitions)

    def _in_zone(self, zone: str) -> Sequence[int]:
        found = [number for number, broker in self._brokers.items() if broker.zone == zone]
        if not found:
            raise LookupError(f"no broker in zone {zone!r}; the zones are {sorted(set(self.zones.values()))}")
        return found
