"""Topics of the simulated cluster: their settings, by the rules of the real adapter, and which brokers have the copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from forebay.backends.kafka.topics import UNCLEAN, Found, check_brokers, check_found, check_partitions, settings
from forebay.backends.ports import TopicSpec
from forebay.scenarios.simulation.kafka_partition import Moved, Partition

RETENTION = "retention.ms"


@frozen
class Topic:
    """A topic as the cluster has it."""

    name: str
    settings: Mapping[str, str]
    replicas: int
    partitions: list[Partition] = field(factory=list)

    @property
    def retention(self) -> int:
        """Milliseconds for which a record stays."""
        return int(self.settings[RETENTION])

    def found(self, *, unclean: bool) -> Found:
        """What the adapter asks of a topic, where elections may be `unclean`."""
        return Found({**self.settings, UNCLEAN: "true"} if unclean else self.settings, self.replicas)


def made(spec: TopicSpec, zones: Mapping[int, str]) -> Topic:
    """Return a new topic without partitions, on brokers by their zones."""
    replicas = min(spec.replication, len(zones))
    return Topic(spec.name, settings(spec, replicas), replicas)


def extend(topic: Topic, spec: TopicSpec, zones: Mapping[int, str], moved: Moved) -> None:
    """Add the partitions that the topic lacks."""
    compact = topic.settings["cleanup.policy"] == "compact"
    insync = int(topic.settings["min.insync.replicas"])
    for number in range(len(topic.partitions), spec.partitions):
        brokers = assigned(number, topic.replicas, zones)
        topic.partitions.append(Partition(topic.name, number, brokers, min_insync=insync, compact=compact, moved=moved))


def assigned(number: int, replicas: int, zones: Mapping[int, str]) -> Sequence[int]:
    """Return the brokers of a partition, the preferred leader first: as many zones as there are, before one comes twice."""
    turns = list(zones)
    turn = number % len(turns)
    order = turns[turn:] + turns[:turn]
    chosen: list[int] = []
    while len(chosen) < replicas:
        seen: dict[str, None] = {}
        for broker in order:
            if broker not in chosen and zones[broker] not in seen and len(chosen) < replicas:
                seen[zones[broker]] = None
                chosen.append(broker)
    return chosen


def check(spec: TopicSpec, topic: Topic | None, living: int, *, unclean: bool) -> None:
    """Raise `BackendError` for what the cluster would refuse, before anything is changed. `living`: so many brokers."""
    if topic is None:
        check_brokers(living, spec)
    else:
        check_partitions(len(topic.partitions), spec)
        check_found(spec, topic.found(unclean=unclean))
