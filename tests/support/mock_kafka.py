"""librdkafka's mock cluster: brokers in this process that speak Kafka's protocol on loopback sockets.

It has no replication and no disk, and knows no request that makes topics: those are made through its own functions.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka

_REQUESTS = {"produce": 0, "fetch": 1, "offsets": 2}
NOT_LEADER, TIMED_OUT, TOO_FEW_REPLICAS, TOO_LARGE = 6, 7, 19, 10


def _library() -> ctypes.CDLL:
    package = Path(confluent_kafka.__file__).parent
    folders = [package, package.parent / "confluent_kafka.libs"]
    found = [path for folder in folders for path in sorted(folder.glob("librdkafka*"))]
    return ctypes.CDLL(str(found[0]))


class MockCluster:
    """Brokers 1 to `brokers`; ends with `close`."""

    def __init__(self, brokers: int) -> None:
        self._rdkafka = _library()
        conf = self._pointer("rd_kafka_conf_new")
        self._rdkafka.rd_kafka_conf_set(conf, b"log_level", b"0", None, ctypes.c_size_t(0))
        self._client = self._pointer("rd_kafka_new", 0, conf, None, ctypes.c_size_t(0))
        self._cluster = self._pointer("rd_kafka_mock_cluster_new", self._client, brokers)
        self.brokers = range(1, brokers + 1)
        self.topics: set[str] = set()
        bootstraps = self._rdkafka.rd_kafka_mock_cluster_bootstraps
        bootstraps.restype = ctypes.c_char_p
        self.servers: str = bootstraps(self._cluster).decode()

    def _pointer(self, name: str, *arguments: object) -> ctypes.c_void_p:
        function = getattr(self._rdkafka, name)
        function.restype = ctypes.c_void_p
        return ctypes.c_void_p(function(*arguments))

    def _call(self, name: str, *arguments: object) -> None:
        error = getattr(self._rdkafka, f"rd_kafka_mock_{name}")(self._cluster, *arguments)
        assert error == 0, f"{name}{arguments}: error {error}"

    def create(self, topic: str, partitions: int) -> None:
        self.topics.add(topic)
        self._call("topic_create", topic.encode(), partitions, len(self.brokers))

    def down(self, broker: int) -> None:
        self._call("broker_set_down", broker)

    def up(self, broker: int) -> None:
        self._call("broker_set_up", broker)

    def slow(self, broker: int, milliseconds: int) -> None:
        self._call("broker_set_rtt", broker, milliseconds)

    def lead(self, topic: str, partition: int, broker: int) -> None:
        self._call("partition_set_leader", topic.encode(), partition, broker)

    def fail(self, request: str, *codes: int) -> None:
        """Answer the next requests of that kind with these error codes."""
        codes_ = (ctypes.c_int * len(codes))(*codes)
        self._rdkafka.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(_REQUESTS[request]), ctypes.c_size_t(len(codes)), codes_
        )

    def close(self) -> None:
        self._rdkafka.rd_kafka_mock_cluster_destroy(self._cluster)
        self._rdkafka.rd_kafka_destroy(self._client)


@contextmanager
def mock_cluster(brokers: int = 3) -> Iterator[MockCluster]:
    """A cluster for the time of the block."""
    cluster = MockCluster(brokers)
    try:
        yield cluster
    finally:
        cluster.close()
