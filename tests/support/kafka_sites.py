"""Sites of the Kafka adapter: on librdkafka's mock cluster, and on real brokers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from support.live import eventually
from support.mock_kafka import MockCluster, mock_cluster

from forebay.backends.clock import SystemClock
from forebay.backends.kafka import KafkaLog
from forebay.backends.ports import TopicSpec
from forebay.scenarios.servers import KafkaCluster


class MockedKafkaLog(KafkaLog):
    """The log on a mock cluster, which has no request for making topics; the rest is as on real brokers."""

    def __init__(self, cluster: MockCluster, timeout: float = 5.0) -> None:
        super().__init__(cluster.servers, SystemClock(), timeout=timeout)
        self._mock = cluster

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        for spec in topics:
            if spec.name not in self._mock.topics:
                self._mock.create(spec.name, spec.partitions)
        self.limit(topics)


class MockKafkaSite:
    """A mock cluster of its own and the log on it. `lacks` says which tests need what only real brokers have."""

    lacks = {
        "test_a_topic_offers_acks_once_it_is_ensured_and_says_what_they_are_worth": "the mock cluster has no settings",
        "test_ensure_adds_partitions_and_keeps_what_is_there": "the mock cluster cannot add partitions",
        "test_a_topic_never_loses_partitions": "the mock cluster has no requests for topics",
        "test_what_was_acknowledged_is_there_after_a_restart": "the mock cluster answers a fetch with one batch at a time",
        "test_a_record_larger_than_an_answer_is_still_given": "the mock cluster drops records beyond 5 MiB",
    }

    def __init__(self, cluster: MockCluster) -> None:
        self.cluster = cluster
        self.clock = SystemClock()

    async def start(self) -> KafkaLog:
        self.port = MockedKafkaLog(self.cluster)
        await self.port.start()
        return self.port

    async def reopen(self) -> KafkaLog:
        await self.port.stop()
        return await self.start()


@asynccontextmanager
async def mock_site(data: Path) -> AsyncIterator[Any]:
    with mock_cluster() as cluster:
        site = MockKafkaSite(cluster)
        try:
            await site.start()
            yield site
        finally:
            await site.port.stop()


class NotingLog(KafkaLog):
    """The log as it is; notes which topics it was to make."""

    def __init__(self, cluster: KafkaCluster) -> None:
        super().__init__(cluster.bootstrap, SystemClock())
        self.made: set[str] = set()

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        self.made |= {spec.name for spec in topics}
        await super().ensure(topics)


class KafkaSite:
    """The log on the real cluster, which all tests share; what a test makes there is removed after it."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self.cluster = cluster
        self.clock = SystemClock()
        self.made: set[str] = set()

    async def start(self) -> KafkaLog:
        self.port = NotingLog(self.cluster)
        self.port.made = self.made
        await self.port.start()
        return self.port

    async def reopen(self) -> KafkaLog:
        await self.port.stop()
        return await self.start()


async def remove(cluster: KafkaCluster, topics: set[str]) -> None:
    """Delete topics, and return when no broker knows them any more: the next test makes topics of the same names."""
    for broker in cluster.brokers.values():
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
        await admin.start()
        try:
            left = topics.intersection(await admin.list_topics())
            if left and broker.node_id == 1:
                await admin.delete_topics(sorted(left))

            async def gone(admin: AIOKafkaAdminClient = admin) -> bool:
                return not topics.intersection(await admin.list_topics())

            await eventually(gone)
        finally:
            await admin.close()


@asynccontextmanager
async def real_site(cluster: KafkaCluster) -> AsyncIterator[Any]:
    site = KafkaSite(cluster)
    try:
        await site.start()
        yield site
    finally:
        await site.port.stop()
        await remove(cluster, site.made)


real_site.needs = "kafka_cluster"

KAFKA_LOGS = {"kafka mock": mock_site, "kafka": real_site}
