"""An unclean election on real Kafka cuts a log below the relay's mark and fills it again: nothing is skipped (R4, F3)."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from support.live import eventually

from forebay import Noted, Registry, Runtime
from forebay.backends.clock import SystemClock
from forebay.backends.errors import Unavailable
from forebay.backends.kafka import KafkaLog
from forebay.backends.ports import Acks, NewRecord, TopicSpec
from forebay.jobs import JobPost, encode

TOPIC = "unclean"
SETTINGS = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1", "message.timestamp.type": "LogAppendTime"}
SIZE = 50


@pytest.fixture
async def brokers(kafka_cluster):
    """The two that hold the topic: its first leader, and the follower. All brokers run again in the end."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_cluster.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, 1, 2, topic_configs={**SETTINGS, "max.message.bytes": "9000000"})])
        found = {}

        async def both_in_sync():
            for partition in (await admin.describe_topics([TOPIC]))[0]["partitions"]:
                found.update(partition)
            return found.get("leader", -1) >= 0 and len(found["isr"]) == 2

        await eventually(both_in_sync)
    finally:
        await admin.close()
    leader = found["leader"]
    (follower,) = (number for number in found["replicas"] if number != leader)
    yield kafka_cluster.brokers[leader], kafka_cluster.brokers[follower]
    for broker in kafka_cluster.brokers.values():
        await broker.launch()
    await kafka_cluster.ready()


@pytest.fixture
async def log(kafka_cluster, brokers):
    log = KafkaLog(kafka_cluster.bootstrap, SystemClock(), timeout=5.0)
    await log.start()
    log.limit([TopicSpec(TOPIC, 1, 3600, 1 << 20)])
    yield log
    await log.stop()


async def append(log, name, count, acks):
    """Append jobs called `<name><number>`, and return their ids once all are acknowledged; none is sent twice."""
    records = []
    for number in range(count):
        value, headers = encode(JobPost(type="echo", args=b"{}"), id_=f"{name}{number}", enqueued_at=0)
        records.append(NewRecord(TOPIC, 0, value, headers=headers))

    async def accepted():
        try:
            await log.append(records, acks)
        except Unavailable:
            return False
        return True

    await eventually(accepted, 180)
    return {f"{name}{number}" for number in range(count)}


def runtime(data, kafka, redis, handled, notes):
    registry = Registry()

    @registry.job("echo")
    async def echo(job):
        handled.append(job.id)

    settings = {
        "data": str(data),
        "log": {"url": kafka.url},
        "coordination": {"url": "sqlite:"},
        "queues": {"main": {"url": redis.main.url}},
        "topics": [{"name": TOPIC, "partitions": 1}],
        "gate": False,
        "workers": {"slots": 4, "drain": "1s"},
        "console": False,
    }
    found = Runtime.from_config(settings, registry=registry)
    found.events.listen(lambda event: notes.append(event) if isinstance(event, Noted) else None)
    return found


@pytest.mark.slow
async def test_an_unclean_election_makes_the_relay_go_back_and_skip_no_acknowledged_job(
    tmp_path, kafka_cluster, redis_servers, brokers, log
):
    leader, follower = brokers
    handled, notes = [], []

    async def until_handled(ids):
        async def all_of_them():
            return ids <= set(handled)

        await eventually(all_of_them, 180)

    async with runtime(tmp_path / "data", kafka_cluster, redis_servers, handled, notes):
        both = await append(log, "both", SIZE, Acks.ALL)
        await until_handled(both)
        await follower.kill()
        alone = await append(log, "alone", SIZE, Acks.LEADER)  # what the follower never gets
        await until_handled(alone)
        await leader.kill()
        await follower.launch()
        refilled = await append(log, "refilled", 2 * SIZE, Acks.LEADER)  # to beyond the relay's mark
        await until_handled(refilled)
        await leader.launch()
        after = await append(log, "after", SIZE, Acks.LEADER)
        await until_handled(after)
    diverged = [dict(event.fields) for event in notes if event.name == "diverged"]
    assert [one["mark"] for one in diverged] == [2 * SIZE]
    assert diverged[0]["to"] <= SIZE
    assert len(handled) - len(set(handled)) <= SIZE  # what lies between the last match and the cut runs again
