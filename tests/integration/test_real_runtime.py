"""The runtime on real servers: the same tree and the same promises, reached by other URLs (rows G3, G5, R2, R5)."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from support.live import eventually

from forebay import Registry, Runtime, RuntimeStartFailed, State
from forebay.backends.errors import AcksNotOffered, DataFolderInUse
from forebay.backends.ports import Acks, TopicSpec
from forebay.scenarios.servers.proxy import Proxy

NUMBERS = count(1)


@pytest.fixture
def topic():
    """A name that no other test uses: the servers are shared."""
    return f"real-{next(NUMBERS)}"


def settings(folder, topic, kafka, redis, **more):
    return {
        "data": str(folder / "data"),
        "log": {"url": kafka.url if hasattr(kafka, "url") else kafka},
        "queues": {"main": {"url": redis.url if hasattr(redis, "url") else redis}},
        "topics": [{"name": topic, "partitions": 2}],
        "gate": {"port": 0, "request_timeout": "20s"},
        "workers": {"slots": 2, "drain": "1s"},
        "console": False,
    } | more


@asynccontextmanager
async def running(configuration):
    """A runtime whose `echo` handler puts what it gets into a queue."""
    registry, handled = Registry(), asyncio.Queue()

    @registry.job("echo")
    async def echo(job):
        handled.put_nowait((job.id, job.raw))

    async with Runtime.from_config(configuration, registry=registry) as runtime:
        yield runtime, handled


async def post(runtime, id_, args=b"{}", query=""):
    """The answer's status and body."""
    url, body = await runtime.gate_url(), b'{"type": "echo", "id": "' + id_.encode() + b'", "args": ' + args + b"}"
    request = urllib.request.Request(f"{url}/v1/jobs{query}", body, {"Content-Type": "application/json"})

    def ask():
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    return await asyncio.to_thread(ask)


async def accepted(runtime, id_):
    """Post until the gate accepts; what it says before that is 503."""

    async def once():
        status, _ = await post(runtime, id_)
        assert status in {202, 503}
        return status == 202

    await eventually(once)


async def handled_as(handled):
    async with asyncio.timeout(60):
        return await handled.get()


def held():
    """What a runtime could leave behind: tasks, threads and sockets of this process."""
    sockets = {link.readlink().name for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    sockets = {name for name in sockets if name.startswith("socket:")}
    return asyncio.all_tasks(), set(threading.enumerate()), sockets


HARD = b'{ "a" : "</script> & \\/ \\u00e9", "n": 9007199254740993, "z": -0, "e": 1E+2, "d": 1, "d": 2 }'


async def test_a_job_goes_the_whole_way_byte_for_byte_and_a_stop_leaves_nothing(
    tmp_path, topic, kafka_cluster, redis_servers
):
    await asyncio.to_thread(int)  # the loop's own thread is there before we count
    before = held()
    async with running(settings(tmp_path, topic, kafka_cluster, redis_servers.main)) as (runtime, handled):
        status, answer = await post(runtime, "hard", HARD)
        assert (status, answer["topic"], answer["offset"]) == (202, topic, 0)
        assert await handled_as(handled) == ("hard", HARD)
        assert {node.path for node in runtime.tree().walk() if node.path.startswith("/stores/")} == {
            "/stores/log",
            "/stores/queue[main]",
        }
    tasks, threads, sockets = held()
    assert (tasks, sockets) == (before[0], before[2])
    assert not [thread for thread in threads - before[1] if not thread.name.startswith("asyncio_")]


async def test_all_in_sync_replicas_are_offered_only_where_that_is_true(tmp_path, topic, kafka_cluster, redis_servers):
    """G4: by the topic's settings in Kafka, for each topic; the answer says what it was worth."""
    weak = {"name": f"{topic}-weak", "partitions": 1, "min_insync": 1}
    topics = [{"name": topic, "partitions": 1}, weak]
    async with running(settings(tmp_path, topic, kafka_cluster, redis_servers.main, topics=topics)) as (runtime, handled):
        assert (await post(runtime, "a"))[1]["durability"] == "written by the leader"
        assert (await post(runtime, "b", query="?acks=all"))[1]["durability"] == "in all in-sync replicas (at least 2)"
        status, answer = await post(runtime, "c", query=f"?acks=all&topic={topic}-weak")
        assert (status, answer["type"]) == (409, "urn:forebay:problem:acks-not-offered")
        with pytest.raises(AcksNotOffered):
            await runtime.enqueue("echo", id="d", topic=f"{topic}-weak", acks=Acks.ALL)
        assert (await post(runtime, "e", query=f"?topic={topic}-weak"))[0] == 202
        assert sorted([await handled_as(handled) for _ in "abe"]) == [("a", b"{}"), ("b", b"{}"), ("e", b"{}")]


async def test_a_topic_that_is_to_keep_acks_all_and_cannot_is_refused_at_the_start(
    tmp_path, topic, kafka_cluster, redis_servers
):
    """G4."""
    weak = {"name": topic, "partitions": 1, "min_insync": 1}
    async with running(settings(tmp_path, topic, kafka_cluster, redis_servers.main, topics=[weak])):
        pass
    strong = {"name": topic, "partitions": 1, "acks": "all"}
    configuration = settings(tmp_path, topic, kafka_cluster, redis_servers.main, topics=[strong])
    with pytest.raises(RuntimeStartFailed, match=r"min.insync.replicas is 1 and must be 2 or more for acks: all"):
        await Runtime.from_config(configuration, registry=Registry()).start()


async def test_two_runtimes_in_one_folder_are_refused_though_their_stores_are_elsewhere(
    tmp_path, topic, kafka_cluster, redis_servers
):
    configuration = settings(tmp_path, topic, kafka_cluster, redis_servers.main)
    async with running(configuration):
        with pytest.raises(DataFolderInUse, match="in use by process"):
            await Runtime.from_config(configuration, registry=Registry()).start()


async def test_with_its_queue_away_a_runtime_starts_and_accepts_and_the_queue_is_opened_when_it_is_back(
    tmp_path, topic, kafka_cluster, redis_servers
):
    """R5: nobody crashes, what is waited for is seen, and nobody has to act."""
    async with Proxy(redis_servers.main.port) as way:
        way.cut()
        configuration = settings(tmp_path, topic, kafka_cluster, f"redis://127.0.0.1:{way.port}")
        async with running(configuration) as (runtime, handled):
            assert (await post(runtime, "early"))[0] == 202
            opener = runtime.tree().find("/stores/queue[main]")
            assert opener.state is State.WAITING
            assert "StoreAway" in opener.last_exit
            way.heal()
            assert await handled_as(handled) == ("early", b"{}")
            assert runtime.tree().find("/stores/queue[main]").state is State.RUNNING


async def test_with_its_log_away_a_runtime_starts_says_503_and_goes_on_when_it_is_back(
    tmp_path, topic, kafka_cluster, redis_servers
):
    """G3, G5: what is waited for is seen, nothing is accepted meanwhile, and nobody has to act."""
    async with Proxy(next(iter(kafka_cluster.brokers.values())).port) as way:
        way.cut()
        configuration = settings(tmp_path, topic, f"kafka://127.0.0.1:{way.port}", redis_servers.main)
        async with running(configuration) as (runtime, handled):
            status, answer = await post(runtime, "early")
            assert (status, answer["type"]) == (503, "urn:forebay:problem:unavailable")
            assert runtime.tree().find("/stores/log").state is State.WAITING
            way.heal()
            await accepted(runtime, "late")
            assert await handled_as(handled) == ("late", b"{}")


async def test_a_stop_ends_the_wait_for_a_store(tmp_path, topic, redis_servers):
    async with Proxy(redis_servers.main.port) as way:
        way.freeze()  # connects, and then nothing
        configuration = settings(tmp_path, topic, f"kafka://127.0.0.1:{way.port}", redis_servers.main)
        runtime = Runtime.from_config(configuration, registry=Registry())
        starting = asyncio.create_task(runtime.start())
        await eventually(lambda: asyncio.sleep(0, way.accepted > 0))
        report = await runtime.stop()
        assert (report.abandoned, report.zombies) == ((), ())
        with pytest.raises(RuntimeStartFailed):
            await starting


async def test_a_store_that_is_not_as_configured_is_refused_at_the_start(tmp_path, topic, kafka_cluster, redis_servers):
    async with running(settings(tmp_path, topic, kafka_cluster, redis_servers.main)) as (runtime, _):
        await runtime.log.ensure([TopicSpec(topic, 3, 3600.0, 2**20)])
    with pytest.raises(RuntimeStartFailed, match="has 3 partitions and 2 are asked for"):
        await Runtime.from_config(settings(tmp_path, topic, kafka_cluster, redis_servers.main), registry=Registry()).start()
