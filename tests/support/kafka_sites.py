"""Sites of the Kafka adapter: on librdkafka's mock cluster, and on real brokers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.mock_kafka import MockCluster, mock_cluster

from forebay.backends.clock import SystemClock
from forebay.backends.kafka import KafkaLog
from forebay.backends.ports import TopicSpec


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


KAFKA_LOGS = {"kafka mock": mock_site}
