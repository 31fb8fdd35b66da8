"""Brokers die, leave, come back and hand over their partitions under load (G3, G4, G5, F3).

With acks=all nothing that was accepted is lost, and the relay goes on without anybody's help. With acks=leader exactly that
is lost which the log lost. Each test posts at least 10,000 jobs in at least 20 s. Brokers are healed after each test.
"""

import asyncio
import json
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import aiokafka
import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from anyio import to_thread
from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient
from support.fleets import SETTINGS, lost_nothing, sound_fleet, under_load
from support.live import eventually

from forebay.scenarios.fleet import Services
from forebay.scenarios.journal import read_journal
from forebay.scenarios.ledger import FINISHED

ALL, LEADER = "kafka-all", "kafka-leader"
PARTITIONS = 4
BROKER = 2  # alone in its rack, so it has a replica of every partition

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory, kafka_cluster, consul_server, redis):
    services = Services(kafka_cluster.url, consul_server.port, {"main": redis.main.port})
    topics = [{"name": ALL, "partitions": PARTITIONS, "acks": "all"}, {"name": LEADER, "partitions": PARTITIONS}]
    settings = {**SETTINGS, "topics": topics}
    async with sound_fleet(tmp_path_factory.mktemp("fleet"), services, settings, {"one": {}, "two": {}}) as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def kafka(kafka_cluster):
    """The cluster; afterwards, whatever was done to it, every replica is in sync and each broker leads what it should."""
    yield kafka_cluster
    for server in kafka_cluster:
        server.resume()
        await server.launch()
    for server in kafka_cluster:
        await server.ready()
    await in_sync(kafka_cluster)
    await to_thread.run_sync(elect_preferred, kafka_cluster)


async def partitions(kafka, topic):
    """Partition -> leader, replicas and who is in sync, as the cluster says now; nothing if the client asks who is down."""
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        await client.start()
        (found,) = await client.describe_topics([topic])
    except KafkaError:
        return {}
    finally:
        await client.close()
    return {p["partition"]: p for p in found["partitions"]}


async def in_sync(kafka):
    """Wait until every replica of both topics is in sync."""

    async def all_are():
        found = [p for topic in (ALL, LEADER) for p in (await partitions(kafka, topic)).values()]
        return len(found) == 2 * PARTITIONS and all(len(p["isr"]) == len(p["replicas"]) for p in found)

    await eventually(all_are, 120)


def elect_preferred(kafka):
    """Have each partition led by the first of its replicas; where that is so already, nothing happens."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    places = [TopicPartition(topic, n) for topic in (ALL, LEADER) for n in range(PARTITIONS)]
    admin.elect_leaders(ElectionType.PREFERRED, places).result()


async def leaders(kafka):
    return {p["leader"] for p in (await partitions(kafka, ALL)).values()}


async def is_led_without(kafka, broker):
    found = await leaders(kafka)
    return bool(found) and broker not in found


async def test_a_broker_killed_hard_under_load_loses_nothing(fleet, kafka, record_figure):
    async with under_load(fleet, "broker killed", [ALL]) as trial:
        await kafka.brokers[BROKER].kill()
        accepted = trial.load.accepted
        await trial.load.reach(accepted + 1_000, 0)
        await kafka.brokers[BROKER].start()
    lost_nothing(trial, record_figure, "broker killed")


async def test_a_broker_that_leaves_in_order_and_leads_again_later_loses_nothing(fleet, kafka, record_figure):
    """G5: its partitions are handed over twice, when it leaves and when it is elected again."""
    async with under_load(fleet, "broker stopped", [ALL]) as trial:
        assert BROKER in await leaders(kafka)
        await kafka.brokers[BROKER].terminate()
        await trial.load.reach(trial.load.accepted + 1_000, 0)
        await eventually(lambda: is_led_without(kafka, BROKER))
        await kafka.brokers[BROKER].start()
        await in_sync(kafka)
        await to_thread.run_sync(elect_preferred, kafka)

        async def leads_again():
            return BROKER in await leaders(kafka)

        await eventually(leads_again)
        await trial.load.reach(trial.load.accepted + 1_000, 0)
    lost_nothing(trial, record_figure, "broker stopped, and leader again")


async def test_both_brokers_of_a_rack_killed_under_load_lose_nothing(fleet, kafka, record_figure):
    async with under_load(fleet, "rack killed", [ALL]) as trial:
        for broker in kafka.rack("a"):
            await broker.kill()
        await trial.load.reach(trial.load.accepted + 1_000, 0)
        for broker in kafka.rack("a"):
            await broker.launch()
    lost_nothing(trial, record_figure, "two brokers of a rack killed")


async def test_a_restart_of_the_whole_cluster_under_load_loses_nothing(fleet, kafka, record_figure):
    """G3: meanwhile nothing is accepted; afterwards everybody goes on by himself."""
    async with under_load(fleet, "cluster restarted", [ALL]) as trial:
        brokers = list(kafka.brokers.values())
        since = time.monotonic()
        await asyncio.gather(*(broker.kill() for broker in brokers))
        await kafka.controller.terminate()
        for server in kafka:
            await server.launch()
        await trial.load.reach(trial.load.accepted + 1_000, 0)
        record_figure("restart of the whole cluster, until the gate accepts again", round(time.monotonic() - since, 1), "s")
    lost_nothing(trial, record_figure, "cluster restarted")


def post_raw(gate, partition, id_):
    """Post one job to a partition, acknowledged by its leader alone; return its offset."""
    connection = HTTPConnection(urlsplit(gate).netloc, timeout=10)
    body = json.dumps({"type": "work", "id": id_, "args": {}})
    connection.request("POST", f"/v1/topics/{LEADER}/partitions/{partition}?acks=leader", body)
    answer = connection.getresponse()
    assert answer.status == 200
    offset = json.loads(answer.read())["offset"]
    connection.close()
    return offset


async def end_of(kafka, partition):
    """Where a partition ends, as its leader says now."""
    place = aiokafka.TopicPartition(LEADER, partition)
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        return (await consumer.end_offsets([place]))[place]
    finally:
        await consumer.stop()


async def test_with_leader_acks_just_what_the_log_lost_is_lost(fleet, kafka, record_figure):
    """G4: a leader that alone has the newest records dies; those below the next leader's end all run, the others do not."""
    partition, leader = next((n, p["leader"]) for n, p in (await partitions(kafka, LEADER)).items())
    followers = [broker for number, broker in kafka.brokers.items() if number != leader]
    gate = fleet.gate(0)
    first = {post_raw(gate, partition, f"replicated-{n}"): f"replicated-{n}" for n in range(20)}

    async def replicated():
        return await end_of(kafka, partition) > max(first)

    await eventually(replicated)
    for broker in followers:
        broker.pause()
    tail = {post_raw(gate, partition, f"tail-{n}"): f"tail-{n}" for n in range(50)}
    await kafka.brokers[leader].kill()
    for broker in followers:
        broker.resume()

    async def has_another_leader():
        found = await partitions(kafka, LEADER)
        return partition in found and found[partition]["leader"] not in {leader, -1}

    await eventually(has_another_leader, 60)
    end = await end_of(kafka, partition)
    accepted = first | tail
    kept = {id_ for offset, id_ in accepted.items() if offset < end}
    record_figure(
        "acknowledged by a leader that died alone with them", len(accepted) - len(kept), f"of {len(tail)} jobs lost"
    )

    async def those_kept_have_run():
        finished = {words[0] for words in read_journal(fleet.handled) if words[1] == FINISHED}
        return kept <= finished

    await eventually(those_kept_have_run, 60)
    finished = {words[0] for words in read_journal(fleet.handled) if words[1] == FINISHED}
    assert set(accepted.values()) - finished == set(accepted.values()) - kept != set()
    assert kept >= set(first.values())
