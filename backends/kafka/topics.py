"""Topics as they must be: made where they are missing, checked where they are there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import errors
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.protocol.admin import CreatePartitionsRequest, CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest
from attrs import frozen

from forebay.backends.errors import BackendError, Unavailable
from forebay.backends.kafka.batch import BATCH, OVERHEAD
from forebay.backends.kafka.cluster import Cluster
from forebay.backends.kafka.faults import translated
from forebay.backends.ports import Acks, TopicSpec

REPLICAS: Final = 3
MIN_INSYNC: Final = 2
"""What a topic needs at least, and no unclean leader election, for `Acks.ALL` to survive the loss of a broker (row G4)."""

_BACKOFF: Final = 0.1  # seconds
UNCLEAN: Final = "unclean.leader.election.enable"
_INSYNC: Final = "min.insync.replicas"
_LONGEST: Final = "max.message.bytes"
_CLEANUP: Final = "cleanup.policy"

_SEGMENT_MS: Final = 3_600_000  # a compacted topic drops nothing of the segment that it is writing to


Offers = Mapping[Acks, str]
"""What each level that a topic keeps is worth, in words."""


@frozen
class Found:
    """A topic as the brokers have it: some of its settings, and the fewest replicas that a partition has."""

    settings: Mapping[str, str]
    replicas: int

    @property
    def insync(self) -> int:
        """How many replicas must have a record before `Acks.ALL` is answered."""
        return int(self.settings[_INSYNC])

    def lacks(self, insync: int = MIN_INSYNC) -> list[str]:
        """Return what keeps `Acks.ALL` from being true here, with so many replicas at least; nothing if it is."""
        wrong = []
        if self.settings[UNCLEAN] != "false":
            wrong.append(f"{UNCLEAN} must be false for acks: all")
        if self.insync < insync:
            wrong.append(f"{_INSYNC} is {self.insync} and must be {insync} or more for acks: all")
        if self.replicas < REPLICAS:
            wrong.append(f"it has {self.replicas} replicas and needs {REPLICAS} for acks: all")
        return wrong

    @property
    def offers(self) -> Offers:
        """The levels that are true here."""
        leader = {Acks.LEADER: "written by the leader"}
        return leader if self.lacks() else leader | {Acks.ALL: f"in all in-sync replicas (at least {self.insync})"}


async def ensure(cluster: Cluster, topics: Sequence[TopicSpec]) -> Mapping[str, Offers]:
    """Create missing topics and partitions, and return what each topic offers when every partition has a leader.

    A topic that is there keeps its settings: they may be an operator's. It is refused with `BackendError`, before anything
    is changed, if it has more partitions than asked for, takes shorter records, or cannot keep `acks`: all (row G4), which
    needs unclean leader election off, `min_insync` in-sync replicas at least, and three replicas.
    """
    doing = f"making the topics {sorted(spec.name for spec in topics)}"
    with translated(doing):
        await cluster.refresh()
        there = [spec for spec in topics if cluster.known(spec.name)]
        missing = [spec for spec in topics if not cluster.known(spec.name)]
        await _check(cluster, there)
        for spec in missing:
            check_brokers(cluster.brokers, spec)
        await _create(cluster, missing)
        await _extend(cluster, [spec for spec in there if cluster.known(spec.name) < spec.partitions])
        await _settled(cluster, topics)
        return {topic: found.offers for topic, found in (await _look(cluster, topics)).items()}


def settings(spec: TopicSpec, replicas: int) -> Mapping[str, str]:
    """Return what a new topic is configured with. `retention` holds from when the broker took the record."""
    kept = {_CLEANUP: "compact", "segment.ms": str(_SEGMENT_MS)} if spec.compact else {_CLEANUP: "delete"}
    return kept | {
        "retention.ms": str(int(spec.retention * 1000)),
        _LONGEST: str(longest(spec)),
        UNCLEAN: "false",
        _INSYNC: str(spec.min_insync if replicas >= spec.replication else 1),
        "message.timestamp.type": "LogAppendTime",
    }


def longest(spec: TopicSpec) -> int:
    """Return the bytes of the longest batch that the topic must take."""
    return max(spec.max_record, BATCH) + OVERHEAD


async def _create(cluster: Cluster, topics: Sequence[TopicSpec]) -> None:
    if not topics:
        return
    wanted: list[Any] = []
    for spec in topics:
        replicas = min(spec.replication, cluster.brokers)
        wanted.append((spec.name, spec.partitions, replicas, [], list(settings(spec, replicas).items())))
    request = CreateTopicsRequest(wanted, int(cluster.timeout * 1000), False)
    response = await cluster.ask_controller(request)
    _raise_for("create", response.topic_errors, errors.TopicAlreadyExistsError)  # another process was quicker: as well


async def _extend(cluster: Cluster, topics: Sequence[TopicSpec]) -> None:
    if not topics:
        return
    wanted: list[Any] = [(spec.name, (spec.partitions, None)) for spec in topics]
    request = CreatePartitionsRequest(wanted, int(cluster.timeout * 1000), False)
    response = await cluster.ask_controller(request)
    _raise_for("add partitions to", response.topic_errors, errors.InvalidPartitionsError)  # seen to when all is settled


def _raise_for(doing: str, answers: Sequence[tuple[str, int, str | None]], harmless: type[errors.KafkaError]) -> None:
    for topic, code, message in answers:
        kind = errors.for_code(code)
        if code and not issubclass(kind, harmless):
            text = f"Kafka does not {doing} topic {topic!r}: {message or kind.__name__}"
            raise Unavailable(text) if kind.retriable else BackendError(text)


async def _settled(cluster: Cluster, topics: Sequence[TopicSpec]) -> None:
    """Wait until the brokers know every partition and its leader."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + cluster.timeout
    while not all(_ready(cluster, spec) for spec in topics):
        if loop.time() > deadline:
            raise Unavailable(f"Kafka names no leader for all partitions of {[spec.name for spec in topics]}; see its logs")
        await asyncio.sleep(_BACKOFF)
        await cluster.refresh()


def _ready(cluster: Cluster, spec: TopicSpec) -> bool:
    enough = cluster.known(spec.name) >= spec.partitions
    return enough and None not in cluster.by_leader(spec.name, range(spec.partitions))


async def _check(cluster: Cluster, topics: Sequence[TopicSpec]) -> None:
    for spec in topics:
        check_partitions(cluster.known(spec.name), spec)
    for topic, found in (await _look(cluster, topics)).items():
        check_found(next(spec for spec in topics if spec.name == topic), found)


async def _look(cluster: Cluster, topics: Sequence[TopicSpec]) -> Mapping[str, Found]:
    """Return how topics are set up, as soon as the brokers that are asked know of all: one may hear of a new one late."""
    names = [spec.name for spec in topics]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + cluster.timeout
    while names:
        try:
            found, replicas = await _describe(cluster, names), await _replicas(cluster, names)
            return {topic: Found(found[topic], replicas[topic]) for topic in names}
        except Unavailable:
            if loop.time() > deadline:
                raise
        await asyncio.sleep(_BACKOFF)
    return {}


async def _describe(cluster: Cluster, topics: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    names = [UNCLEAN, _INSYNC, _LONGEST, _CLEANUP]
    request = DescribeConfigsRequest([(ConfigResourceType.TOPIC, topic, names) for topic in topics])
    response: Any = await cluster.ask(request)
    found = {}
    for code, message, _, topic, entries in response.resources:
        if code:
            kind = errors.for_code(code)
            text = f"Kafka does not say how topic {topic!r} is set up: {message or kind.__name__}"
            raise Unavailable(text) if kind.retriable else BackendError(text)  # a topic just made or deleted may pass
        found[topic] = {name: value for name, value, *_ in entries}
    return found


async def _replicas(cluster: Cluster, topics: Sequence[str]) -> Mapping[str, int]:
    """Return the least number of replicas that a partition of each topic has."""
    response: Any = await cluster.ask(MetadataRequest(list(topics), allow_auto_topic_creation=False))
    found = {topic["topic"]: topic["partitions"] for topic in response.to_object()["topics"]}
    if unknown := [topic for topic in topics if not found.get(topic)]:
        raise Unavailable(f"a broker of Kafka does not know the topics {unknown} yet")
    return {topic: min(len(partition["replicas"]) for partition in found[topic]) for topic in topics}


def check_partitions(have: int, spec: TopicSpec) -> None:
    """Raise `BackendError` if the topic would have to lose partitions."""
    if have > spec.partitions:
        raise BackendError(
            f"topic {spec.name!r} has {have} partitions and {spec.partitions} are asked for: a topic never loses "
            f"partitions; set its partitions to {have} or more"
        )


def check_found(spec: TopicSpec, found: Found) -> None:
    """Raise `BackendError` if the topic as it is cannot do what is asked."""
    wrong = []
    if (have := int(found.settings[_LONGEST])) < longest(spec):
        wrong.append(f"{_LONGEST} is {have} and must be {longest(spec)} or more")
    if spec.compact and found.settings[_CLEANUP] != "compact":
        wrong.append(f"{_CLEANUP} is {found.settings[_CLEANUP]} and must be compact")
    if spec.acks is Acks.ALL:
        wrong += found.lacks(max(spec.min_insync, MIN_INSYNC))
    if wrong:
        raise BackendError(f"topic {spec.name!r} in Kafka: {'; '.join(wrong)}. Alter the topic, or what is asked of it")


def check_brokers(brokers: int, spec: TopicSpec) -> None:
    """Raise `BackendError` if a new topic could not do what is asked on so many brokers."""
    if spec.acks is Acks.ALL and brokers < REPLICAS:
        raise BackendError(
            f"topic {spec.name!r} has acks: all, which needs {REPLICAS} brokers, and there are {brokers}; "
            f"add brokers, or set acks: leader"
        )
