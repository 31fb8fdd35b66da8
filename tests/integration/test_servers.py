"""The harness of real servers: each starts, answers, is killed, paused and restarted with its data, and nothing is left."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.exceptions import OutOfMemoryError, RedisError
from support import services
from support.live import eventually

from forebay.config import load
from forebay.scenarios.servers import Proxy, ServerFailed, Servers
from forebay.scenarios.servers.process import Process, launch

# ------------------------------------------------------------------------------------------- Redis


async def test_a_killed_redis_comes_back_on_its_port_with_what_it_had_answered(redis_servers):
    server = redis_servers.main
    async with server.client() as client:
        await client.set("kept", "over a kill")
    port, pid = server.port, server.process.pid
    await server.kill()
    assert server.process is None
    assert not await server.answers()
    await server.start()
    assert (server.port, server.process.pid != pid) == (port, True)
    async with server.client() as client:
        assert await client.get("kept") == b"over a kill"


async def test_a_terminated_redis_has_ended_and_a_restart_keeps_its_data(redis_servers):
    server = redis_servers.other
    async with server.client() as client:
        await client.set("kept", "over a restart")
    await server.terminate()
    assert server.process is None
    await server.restart()
    async with server.client() as client:
        assert await client.get("kept") == b"over a restart"


async def test_a_paused_redis_is_silent_until_it_goes_on(redis_servers):
    server = redis_servers.other
    server.pause()
    try:
        await eventually(lambda: paused(server))
        with pytest.raises((RedisError, TimeoutError)):
            async with server.client() as client:
                await client.ping()
    finally:
        server.resume()
    await server.ready()


async def paused(server) -> bool:
    return server.process.state == "T"


async def test_a_paused_server_can_be_stopped(redis_servers):
    server = redis_servers.other
    server.pause()
    await server.terminate()
    assert server.process is None
    await server.start()


async def test_a_replica_follows_is_promoted_and_follows_again(redis_servers):
    main, replica = redis_servers.main, redis_servers.replica
    async with main.client() as client:
        await client.set("replicated", "1")
        assert await client.wait(1, 5000) == 1
    await main.kill()
    await replica.promote()
    try:
        async with replica.client() as client:
            assert await client.get("replicated") == b"1"
            await client.set("written", "after the failover")
        await replica.restart()  # it stays what it was made
        async with replica.client() as client:
            assert await client.get("written") == b"after the failover"
    finally:
        await main.start()
        await replica.follow(main)
    async with replica.client() as client:
        assert await client.get("written") is None


async def test_a_memory_limit_refuses_writes_and_outlives_a_restart(redis_servers):
    server = redis_servers.other
    await server.limit_memory(1)
    try:
        await server.restart()
        async with server.client() as client:
            with pytest.raises(OutOfMemoryError):
                await client.set("too", "much")
    finally:
        await server.limit_memory(0)
    async with server.client() as client:
        assert await client.set("room", "again")


async def test_a_wiped_redis_is_empty_on_the_same_port(redis_servers):
    server = redis_servers.other
    async with server.client() as client:
        await client.set("gone", "1")
    port = server.port
    await server.wipe()
    await server.start()
    assert server.port == port
    async with server.client() as client:
        assert await client.dbsize() == 0


async def test_a_server_that_cannot_start_is_named_with_its_last_words(tmp_path):
    servers = Servers(tmp_path, {"redis": services.require("redis")})
    server = servers.redis.other
    server.folder.mkdir()
    (server.folder / "appendonlydir").write_text("not a folder")
    with pytest.raises(ServerFailed, match=r"(?s)redis-other ended while it started; the end of .*output.log:.*appendonly"):
        await server.start()


async def test_connections_can_be_cut_in_front_of_a_real_server(redis_servers):
    async with Proxy(redis_servers.other.port) as proxy:
        client = redis_servers.other.client()
        client.connection_pool.connection_kwargs["port"] = proxy.port
        async with client:
            assert await client.ping()
            proxy.cut()
            with pytest.raises(RedisError):
                await client.ping()
            proxy.heal()
            assert await client.ping()


# ------------------------------------------------------------------------------------------ Consul


def asked(server, method: str, path: str, body: object = None):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        text = response.read()
        return json.loads(text) if response.status == 200 else response.status
    finally:
        connection.close()


async def test_consul_takes_a_short_session_and_ends_it_when_it_is_not_renewed(consul_server):
    made = asked(consul_server, "PUT", "/v1/session/create", {"TTL": "1s", "LockDelay": "0s", "Checks": []})

    async def gone() -> bool:
        return asked(consul_server, "GET", f"/v1/session/info/{made['ID']}") == []

    assert not await gone()
    await eventually(gone)


async def test_consul_keeps_its_data_over_a_kill_and_loses_them_when_wiped(consul_server):
    assert asked(consul_server, "PUT", "/v1/kv/kept", "value") is True
    await consul_server.kill()
    assert not await consul_server.answers()
    await consul_server.start()
    assert asked(consul_server, "GET", "/v1/kv/kept")[0]["Key"] == "kept"
    await consul_server.wipe()
    await consul_server.start()
    assert asked(consul_server, "GET", "/v1/kv/kept") == 404


async def test_a_paused_consul_is_silent_until_it_goes_on(consul_server):
    consul_server.pause()
    try:
        assert not await consul_server.answers()
    finally:
        consul_server.resume()
    await consul_server.ready()


# ------------------------------------------------------------------------------------------- Kafka


async def topic(cluster, name: str, **configs: str) -> TopicPartition:
    """A topic of one partition with three replicas, once every running broker knows its leader."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 3, topic_configs=configs)])
    finally:
        await admin.close()
    partition = TopicPartition(name, 0)
    for broker in cluster.brokers.values():
        if broker.process is not None:
            await eventually(lambda address=broker.address: led(address, partition))
    return partition


async def led(address: str, partition: TopicPartition) -> bool:
    found = await partitions(address, partition.topic)
    return bool(found) and found[0]["leader"] >= 0


async def written(cluster, partition: TopicPartition, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all", request_timeout_ms=30_000) as producer:
        for value in values:
            await producer.send_and_wait(partition.topic, value, partition=0)


async def read(cluster, partition: TopicPartition, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([partition])
        return [(await asyncio.wait_for(consumer.getone(), 30)).value for _ in range(count)]


async def partitions(addresses: str, name: str) -> list[dict]:
    admin = AIOKafkaAdminClient(bootstrap_servers=addresses)
    await admin.start()
    try:
        (found,) = await admin.describe_topics([name])
        return found["partitions"]
    finally:
        await admin.close()


async def described(cluster, partition: TopicPartition) -> dict:
    (found,) = await partitions(cluster.bootstrap, partition.topic)
    return found


async def in_sync(cluster, partition: TopicPartition, count: int) -> bool:
    return len((await described(cluster, partition))["isr"]) == count


@pytest.mark.slow
async def test_kafka_has_four_brokers_in_three_racks_and_spreads_replicas_over_them(kafka_cluster):
    assert [await broker.members() for broker in kafka_cluster.brokers.values()] == [{1, 2, 3, 4}] * 4
    replicas = (await described(kafka_cluster, await topic(kafka_cluster, "racks")))["replicas"]
    assert sorted(kafka_cluster.brokers[number].rack for number in replicas) == ["a", "b", "c"]


@pytest.mark.long
async def test_a_killed_leader_is_followed_by_another_and_catches_up_when_it_is_back(kafka_cluster):
    partition = await topic(kafka_cluster, "leaders", **{"min.insync.replicas": "2"})
    await written(kafka_cluster, partition, b"1")
    leader = kafka_cluster.brokers[(await described(kafka_cluster, partition))["leader"]]
    await leader.kill()
    try:
        await written(kafka_cluster, partition, b"2")
        assert (await described(kafka_cluster, partition))["leader"] != leader.node_id
    finally:
        await leader.start()
    await eventually(lambda: in_sync(kafka_cluster, partition, 3))
    assert await read(kafka_cluster, partition, 2) == [b"1", b"2"]


@pytest.mark.long
async def test_two_brokers_of_a_rack_are_killed_and_what_was_acknowledged_is_still_read(kafka_cluster):
    partition = await topic(kafka_cluster, "rack", **{"min.insync.replicas": "2"})
    await written(kafka_cluster, partition, b"1", b"2")
    rack = kafka_cluster.rack("a")
    assert [broker.node_id for broker in rack] == [1, 4]
    await asyncio.gather(*(broker.kill() for broker in rack))
    try:
        await written(kafka_cluster, partition, b"3")
        assert await read(kafka_cluster, partition, 3) == [b"1", b"2", b"3"]
    finally:
        await asyncio.gather(*(broker.start() for broker in rack))
    await kafka_cluster.ready()


@pytest.mark.long
async def test_a_paused_broker_is_left_out_until_it_goes_on(kafka_cluster):
    broker, other = kafka_cluster.brokers[2], kafka_cluster.brokers[3]

    async def left_out() -> bool:
        return await other.members() == {1, 3, 4}

    broker.pause()
    try:
        await eventually(left_out)
    finally:
        broker.resume()
    await kafka_cluster.ready()


@pytest.mark.long
async def test_brokers_serve_without_their_controller_and_take_it_back(kafka_cluster):
    partition = await topic(kafka_cluster, "controller")
    await kafka_cluster.controller.kill()
    try:
        await written(kafka_cluster, partition, b"1")
        assert not await kafka_cluster.controller.answers()
    finally:
        await kafka_cluster.controller.start()
    await eventually(lambda: can_create(kafka_cluster))


async def can_create(cluster) -> bool:
    await topic(cluster, f"created-{time.monotonic_ns()}")
    return True


@pytest.mark.long
async def test_a_wiped_broker_fills_itself_again_from_the_others(kafka_cluster):
    partition = await topic(kafka_cluster, "wiped", **{"min.insync.replicas": "2"})
    await written(kafka_cluster, partition, b"1")
    found = await described(kafka_cluster, partition)
    broker = kafka_cluster.brokers[next(number for number in found["replicas"] if number != found["leader"])]
    await broker.wipe()
    await broker.start()
    await eventually(lambda: in_sync(kafka_cluster, partition, 3))
    assert (broker.data / "wiped-0").is_dir()


# --------------------------------------------------------------------------- together; nothing left


def processes(servers: Servers) -> list[Process]:
    return [server.process for server in servers]


@pytest.mark.long
async def test_all_servers_start_together_keep_their_data_and_leave_nothing_behind(tmp_path, record_figure):
    servers = Servers(tmp_path, {kind: services.require(kind) for kind in ("redis", "consul", "kafka")})
    began = time.monotonic()
    async with servers:
        record_figure("all servers started from nothing", round(time.monotonic() - began, 1), "s")
        started = processes(servers)
        assert len(started) == 9
        partition = await topic(servers.kafka, "kept")
        await written(servers.kafka, partition, b"1")
        await servers.stop()
        assert processes(servers) == [None] * 9
        await servers.start()
        assert await read(servers.kafka, partition, 1) == [b"1"]
        started += processes(servers)
    assert [process for process in started if process.alive] == []


PROGRAM = """
import asyncio, sys
from pathlib import Path
from forebay.scenarios.servers import Servers, find

async def main():
    servers = Servers(Path(sys.argv[1]), {kind: find(kind) for kind in ("redis", "consul")})
    await servers.start()
    print("started", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_no_server_outlives_a_test_process_that_was_killed(tmp_path):
    for kind in ("redis", "consul"):
        services.require(kind)
    with subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "started\n"
        started = [Process(*found) for found in json.loads((tmp_path / "services.json").read_text())["processes"].values()]
        assert [process.alive for process in started] == [True] * 4
        run.send_signal(signal.SIGKILL)
    assert [await process.ended(10) for process in started] == [True] * 4


# ------------------------------------------------------------------------------------ command line


def forebay(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "forebay", "services", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


async def test_up_starts_status_shows_and_down_stops_exactly_those(tmp_path):
    services.require("redis")
    data = tmp_path / "data"
    other = launch(["sleep", "600"], os.environ, tmp_path / "log", detached=True)
    try:
        up = forebay("up", "--data", data, "--only", "redis")
        assert (up.returncode, "redis-main: ready" in up.stderr) == (0, True)
        state = json.loads((data / "services.json").read_text())
        port = state["ports"]["redis-main"]
        assert up.stdout.splitlines()[:2] == [
            "queues:",
            f'  main: {{url: "redis://127.0.0.1:{port}"}}   # its replica: 127.0.0.1:{state["ports"]["redis-replica"]}',
        ]
        (tmp_path / "forebay.yaml").write_text(up.stdout)  # what is printed is a whole configuration
        queues = load(tmp_path / "forebay.yaml", {}).queues
        assert {name: queue.url.address for name, queue in queues.items()} == {
            name: f"127.0.0.1:{state['ports'][f'redis-{name}']}" for name in ("main", "other")
        }
        assert [line.split()[2] for line in forebay("status", "--data", data).stdout.splitlines()] == ["running"] * 3

        killed = Process(*state["processes"]["redis-other"])
        killed.send(signal.SIGKILL)
        assert await killed.ended(5)
        shown = forebay("status", "--data", data)
        assert (shown.returncode, "redis-other" in shown.stdout, "down" in shown.stdout) == (1, True, True)

        assert forebay("up", "--data", data, "--only", "redis").returncode == 0
        again = json.loads((data / "services.json").read_text())["processes"]
        assert [name for name in again if again[name] != state["processes"][name]] == ["redis-other"]

        state = json.loads((data / "services.json").read_text())
        state["processes"]["redis-gone"] = [other.pid, "of/another-start"]
        (data / "services.json").write_text(json.dumps(state))
        assert forebay("down", "--data", data).returncode == 0
        assert [Process(*process).alive for process in again.values()] == [False] * 3
        assert other.alive
    finally:
        forebay("down", "--data", data)
        other.send(signal.SIGKILL)


def test_what_cannot_be_had_is_named_and_the_rest_works(tmp_path):
    redis = services.require("redis")
    programs = tmp_path / "programs"
    programs.mkdir()
    server = programs / "redis-server"
    variables = "".join(f"{name}='{value}' " for name, value in redis.environ.items())
    server.write_text(f'#!/bin/sh\n{variables}exec {redis.command[0]} "$@"\n')
    server.chmod(0o755)
    environ = {**os.environ, "PATH": str(programs), "FOREBAY_CACHE": str(tmp_path / "cache")}
    environ.pop("JAVA_HOME", None)
    command = [sys.executable, "-m", "forebay", "services", "get"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stdout == f"redis {redis.version}: {server}\n"
    assert "consul: not on PATH" in run.stderr
    assert "kafka: no java on PATH" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "--only", "redis,reddis"), "reddis: choose from redis, consul, kafka"),
        (("down", "--data", "absent"), "no folder absent"),
    ],
)
def test_a_wrong_use_is_named(arguments, message):
    run = forebay(*arguments)
    assert (run.returncode, message in run.stderr) == (2, True)
