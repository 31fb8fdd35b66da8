"""What the Kafka adapter does when brokers fail, on librdkafka's mock cluster (G3, G4, R2)."""

import asyncio
import threading
import time

import confluent_kafka
import pytest
from aiokafka import codec
from support.kafka_sites import MockedKafkaLog
from support.mock_kafka import NOT_LEADER, TIMED_OUT, TOO_FEW_REPLICAS, TOO_LARGE, mock_cluster
from support.sockets import connected

from forebay.backends.errors import RecordTooLarge, Unavailable, UnknownOutcome, UnknownPartition, UnknownTopic
from forebay.backends.kafka.cluster import Cluster
from forebay.backends.kafka.reader import Reader
from forebay.backends.ports import Acks, Extent, NewRecord, TopicSpec, Want

TIMEOUT = 5.0
BOUND = 3 * TIMEOUT  # seconds: a call that has to ask for the leaders first may take a little longer than the timeout
JOBS = TopicSpec("jobs", partitions=3, retention=3600, max_record=1000)


@pytest.fixture
def cluster():
    with mock_cluster() as cluster:
        yield cluster


@pytest.fixture
async def log(cluster):
    log = MockedKafkaLog(cluster, TIMEOUT)
    await log.start()
    await log.ensure([JOBS])
    yield log
    await log.stop()


def record(value=b"v", partition=0):
    return NewRecord("jobs", partition, value)


def all_down(cluster):
    for broker in cluster.brokers:
        cluster.down(broker)


def all_up(cluster):
    for broker in cluster.brokers:
        cluster.up(broker)


async def eventually(call):
    """Repeat a call while it is `Unavailable`, as its callers do."""
    for _ in range(100):
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(0.05)
    raise AssertionError("still unavailable")


async def read(connection, partition, offset=0):
    found = await connection.fetch({partition: Want(offset, 100)}, 5)
    return [r.value for r in found[partition]]


@pytest.mark.parametrize("acks", Acks)
async def test_with_all_brokers_down_an_append_ends_in_bounded_time_and_works_again_after(log, cluster, acks):
    await log.append([record(b"before")], acks)
    all_down(cluster)
    begin = time.monotonic()
    with pytest.raises(Unavailable):
        await log.append([record(b"lost")], acks)
    assert time.monotonic() - begin < BOUND
    all_up(cluster)
    assert list(await eventually(lambda: log.append([record(b"after")], acks))) == [1]


async def test_with_all_brokers_down_questions_and_fetches_end_in_bounded_time_and_work_again_after(log, cluster):
    connection = await log.connect("jobs")
    all_down(cluster)
    for call in (connection.extents, lambda: connection.fetch({0: Want(0, 9)}, 600), lambda: connection.commit({0: 0})):
        begin = time.monotonic()
        with pytest.raises(Unavailable):
            await call()
        assert time.monotonic() - begin < BOUND
    all_up(cluster)
    assert (await eventually(connection.extents))[0] == Extent(0, 0)
    await log.append([record(b"after")], Acks.LEADER)
    assert await eventually(lambda: read(connection, 0)) == [b"after"]


async def test_when_no_broker_is_left_that_was_last_heard_of_the_configured_ones_are_asked_again():
    """G5: brokers that were down when one was last asked are among them, and so are those that came back elsewhere."""
    with mock_cluster(1) as known, mock_cluster(2) as others:
        others.create("jobs", 3)
        all_down(others)
        known.servers += f",{others.servers}"
        log = MockedKafkaLog(known, TIMEOUT)
        await log.start()
        try:
            await log.ensure([JOBS])
            await log.append([record()], Acks.LEADER)
            connection = await log.connect("jobs")
            all_down(known)
            all_up(others)
            assert list(await eventually(lambda: log.append([record(b"elsewhere")], Acks.LEADER))) == [0]
            assert await eventually(lambda: read(connection, 0)) == [b"elsewhere"]
        finally:
            await log.stop()


async def test_a_log_whose_brokers_are_down_does_not_start_and_leaves_nothing(cluster):
    all_down(cluster)
    before = asyncio.all_tasks()
    with pytest.raises(Unavailable):
        await MockedKafkaLog(cluster, TIMEOUT).start()
    assert asyncio.all_tasks() == before


class Halfway(Cluster):
    """Gets no further than to connections that are open: a broker was reached, and asked for the topics."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.reached = asyncio.Event()

    async def _refresh(self, client):
        await super()._refresh(client)
        self.reached.set()
        await asyncio.Event().wait()


async def test_a_start_that_is_broken_off_halfway_leaves_nothing(cluster):
    """G1: whoever starts the log makes it anew each time, so what a try leaves is there for ever."""
    ports = {int(server.rpartition(":")[2]) for server in cluster.servers.split(",")}
    before = asyncio.all_tasks()
    half = Halfway(cluster.servers, TIMEOUT)
    starting = asyncio.create_task(half.start())
    await half.reached.wait()
    assert connected(ports) != []
    assert not half.open  # it serves nobody yet
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not half.open
    assert asyncio.all_tasks() == before
    assert connected(ports) == []


async def test_an_append_follows_a_leader_that_moved(log, cluster):
    cluster.lead("jobs", 0, 1)
    await log.append([record(b"one")], Acks.LEADER)
    cluster.lead("jobs", 0, 2)
    assert list(await log.append([record(b"two")], Acks.LEADER)) == [1]


async def test_a_fetch_follows_a_leader_that_moves_while_it_waits(log, cluster):
    cluster.lead("jobs", 0, 1)
    connection = await log.connect("jobs")
    waiting = asyncio.create_task(connection.fetch({0: Want(0, 9)}, 30))
    await connection.extents()
    cluster.lead("jobs", 0, 2)
    await log.append([record(b"here")], Acks.LEADER)
    assert [r.value for r in (await waiting)[0]] == [b"here"]


@pytest.mark.parametrize("code", [NOT_LEADER, TOO_FEW_REPLICAS])
async def test_an_append_that_a_broker_refused_for_now_is_sent_again_and_written_once(log, cluster, code):
    cluster.fail("produce", code, code)
    assert list(await log.append([record(b"once")], Acks.ALL)) == [0]
    assert (await (await log.connect("jobs")).extents())[0] == Extent(0, 1)


async def test_an_append_whose_outcome_a_broker_does_not_know_is_not_sent_again(log, cluster):
    cluster.fail("produce", TIMED_OUT)
    with pytest.raises(UnknownOutcome):
        await log.append([record()], Acks.ALL)


async def test_an_append_whose_answer_comes_too_late_has_an_unknown_outcome(log, cluster):
    await log.append([record()], Acks.LEADER)
    for broker in cluster.brokers:
        cluster.slow(broker, 60_000)
    begin = time.monotonic()
    with pytest.raises(UnknownOutcome):
        await log.append([record()], Acks.LEADER)
    assert time.monotonic() - begin < BOUND


async def test_a_record_over_its_topics_limit_or_the_brokers_is_too_large(log, cluster):
    with pytest.raises(RecordTooLarge):
        await log.append([record(), record(b"x" * 1001)], Acks.LEADER)
    cluster.fail("produce", TOO_LARGE)
    with pytest.raises(RecordTooLarge):
        await log.append([record()], Acks.LEADER)
    assert (await (await log.connect("jobs")).extents())[0] == Extent(0, 0)


async def test_cancelled_fetches_lose_nothing(log):
    connection = await log.connect("jobs")
    for number in range(20):
        waiting = asyncio.create_task(connection.fetch({0: Want(number, 9)}, 30))
        appending = asyncio.create_task(log.append([record(b"%d" % number)], Acks.LEADER))
        await asyncio.sleep(0.001 * (number % 7))
        waiting.cancel()
        await appending
        assert await read(connection, 0, number) == [b"%d" % number]


@pytest.mark.parametrize("down", [False, True], ids=["brokers up", "brokers down"])
async def test_stop_is_bounded_and_leaves_no_task_thread_or_socket(cluster, down):
    ports = {int(server.rpartition(":")[2]) for server in cluster.servers.split(",")}
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    log = MockedKafkaLog(cluster, TIMEOUT)
    await log.start()
    await log.ensure([JOBS])
    connection = await log.connect("jobs")
    await log.append([record(partition=p) for p in range(3)], Acks.LEADER)
    fetching = asyncio.create_task(connection.fetch({0: Want(1, 9)}, 600))
    await connection.extents()
    assert connected(ports)
    appending = None
    if down:
        all_down(cluster)
        appending = asyncio.create_task(log.append([record()], Acks.ALL))
        await asyncio.sleep(0)
    begin = time.monotonic()
    await log.stop()
    assert time.monotonic() - begin < BOUND
    for waiting in filter(None, (fetching, appending)):
        with pytest.raises(Unavailable):
            await waiting
    assert asyncio.all_tasks() == tasks
    assert threading.active_count() == threads
    assert connected(ports) == []


async def test_partitions_whose_leader_has_just_gone_are_waited_for(cluster):
    """R2: the leaders can go between the answer that there is nothing and the wait for news."""
    brokers = Cluster(cluster.servers, TIMEOUT)
    await brokers.start()
    try:
        await Reader("nobody-leads-it", brokers).news({0: Want(0, 1)}, 0.001)
    finally:
        await brokers.close()


async def test_a_topic_that_was_made_and_that_a_broker_does_not_know_yet_is_an_outage_and_another_is_an_answer(log):
    """R4, R6: a job is not parked, and a post not refused, since a broker has just started."""
    log.limit([TopicSpec("later", 2, 3600, 1000), TopicSpec("jobs", 5, 3600, 1000)])  # as `ensure` found them
    for call in (
        lambda: log.append([NewRecord("later", 0, b"v")], Acks.LEADER),
        lambda: log.append([record(partition=4)], Acks.LEADER),
        lambda: log.connect("later"),
    ):
        with pytest.raises(Unavailable, match="has not heard of it yet"):
            await call()
    connection = await log.connect("jobs")
    for call in (lambda: connection.fetch({0: Want(0, 1), 4: Want(0, 1)}, 0), lambda: connection.commit({4: 1})):
        with pytest.raises(Unavailable, match="has not heard of it yet"):
            await call()
    for call in (
        lambda: log.append([record(partition=4), record(partition=5)], Acks.LEADER),
        lambda: connection.fetch({4: Want(0, 1), 5: Want(0, 1)}, 0),
        lambda: connection.commit({5: 1}),
    ):
        with pytest.raises(UnknownPartition, match="not 5"):
            await call()
    await connection.close()
    for call in (lambda: log.append([NewRecord("never", 0, b"v")], Acks.LEADER), lambda: log.connect("never")):
        with pytest.raises(UnknownTopic):
            await call()


async def test_a_batch_in_a_codec_that_is_not_here_keeps_no_other_partition_from_being_read(log, cluster, monkeypatch):
    """R4, R6: the records are told by their places."""
    monkeypatch.setattr(codec, "cramjam", None)
    foreign = confluent_kafka.Producer({"bootstrap.servers": cluster.servers, "compression.type": "lz4", "linger.ms": 50})
    for _ in range(3):
        foreign.produce("jobs", b"foreign" * 50, partition=0)
    assert await asyncio.to_thread(foreign.flush, 10.0) == 0
    await log.append([record(b"after"), record(b"other", partition=1)], Acks.ALL)
    connection = await log.connect("jobs")
    found, at = [], 0
    while at < 4:
        records = (await connection.fetch({0: Want(at, 100), 1: Want(0, 100)}, 5))[0]
        found += [(r.offset, r.value, "lz4" in r.unreadable) for r in records]
        at = records[-1].offset + 1
    assert found == [(0, b"", True), (1, b"", True), (2, b"", True), (3, b"after", False)]
    assert await read(connection, 1) == [b"other"]
