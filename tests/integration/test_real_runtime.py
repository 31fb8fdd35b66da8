"""The runtime on real servers: the same tree and the same promises, reached by other URLs (rows G3, G5, R2, R5)."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from itertools import count

import pytest
from support.live import eventually
from support.sockets import open_files

from forebay import Noted, Registry, Runtime, RuntimeStartFailed, State
from forebay.backends.errors import AcksNotOffered, DataFolderInUse
from forebay.backends.ports import Acks, Token, TopicSpec
from forebay.scenarios.servers.proxy import Proxy

NUMBERS = count(1)


@pytest.fixture
def topic():
    """A name that no other test uses: the servers are shared."""
    return f"real-{next(NUMBERS)}"


@pytest.fixture
def configured(tmp_path, topic, kafka_cluster, redis_servers, consul_server):
    """Makes the configuration of a process on the servers; what is given replaces what is here."""

    def settings(**given):
        return {
            "data": str(tmp_path / "data"),
            "log": {"url": kafka_cluster.url},
            "coordination": {"url": consul_server.url},
            "queues": {"main": {"url": redis_servers.main.url}},
            "topics": [{"name": topic, "partitions": 2}],
            "gate": {"port": 0, "request_timeout": "20s"},
            "workers": {"slots": 2, "drain": "1s"},
            "console": False,
        } | given

    return settings


class Process:
    """A runtime whose `echo` handler puts what it gets into `handled`; `terms` are those that it began."""

    def __init__(self, settings):
        registry, self.handled, self.terms = Registry(), asyncio.Queue(), []

        @registry.job("echo")
        async def echo(job):
            self.handled.put_nowait((job.id, job.raw))

        self.runtime = Runtime.from_config(settings, registry=registry)
        self.runtime.events.listen(self._note)

    def _note(self, event):
        if isinstance(event, Noted) and event.name == "term_begins":
            fields = dict(event.fields)
            self.terms.append((event.path, Token(fields["generation"], fields["index"])))

    async def next(self):
        """The id and the arguments of the next job that a handler got."""
        async with asyncio.timeout(60):
            return await self.handled.get()

    def place(self, path):
        return self.runtime.tree().find(path)


@asynccontextmanager
async def running(settings):
    process = Process(settings)
    async with process.runtime:
        yield process


def waits_for(process, store):
    """Whether the tree says that a store is away: between two tries to open it, or in one."""
    opener = process.place(f"/stores/{store}")
    return opener.state in {State.WAITING, State.STARTING} and "StoreAway" in opener.last_exit


async def relaying(process, topic):
    """Return once the topic's term has begun: aiokafka leaks a socket whose first request is cancelled."""

    async def begun():
        consumers = process.place(f"/relays/relay[{topic}]/term/partitions")
        return consumers is not None and consumers.state is State.RUNNING

    await eventually(begun, 60.0)


async def post(process, id_, args=b"{}", query=""):
    """The answer's status and body."""
    url, body = await process.runtime.gate_url(), b'{"type": "echo", "id": "' + id_.encode() + b'", "args": ' + args + b"}"
    request = urllib.request.Request(f"{url}/v1/jobs{query}", body, {"Content-Type": "application/json"})

    def ask():
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    return await asyncio.to_thread(ask)


async def accepted(process, id_):
    """Post until the gate accepts; what it says before that is 503."""

    async def once():
        status, _ = await post(process, id_)
        assert status in {202, 503}
        return status == 202

    await eventually(once)


def held():
    """What a runtime could leave behind: tasks, threads and sockets of this process."""
    sockets = {name for name in open_files() if name.startswith("socket:")}
    return asyncio.all_tasks(), set(threading.enumerate()), sockets


HARD = b'{ "a" : "</script> & \\/ \\u00e9", "n": 9007199254740993, "z": -0, "e": 1E+2, "d": 1, "d": 2 }'


async def test_a_job_goes_the_whole_way_byte_for_byte_and_a_stop_leaves_nothing(configured, topic):
    await asyncio.to_thread(int)  # the loop's own thread is there before we count
    before = held()
    async with running(configured()) as process:
        status, answer = await post(process, "hard", HARD)
        assert (status, answer["topic"], answer["offset"]) == (202, topic, 0)
        assert await process.next() == ("hard", HARD)
        stores = {node.name for node in process.runtime.tree().walk() if node.path.startswith("/stores/")}
        assert stores == {"log", "coordination", "queue[main]"}
    tasks, threads, sockets = held()
    assert (tasks, sockets) == (before[0], before[2])
    assert not [thread for thread in threads - before[1] if not thread.name.startswith("asyncio_")]


async def test_one_process_serves_many_topics_each_on_its_own_redis(configured, topic, redis_servers):
    """R13: and stores of both kinds together."""
    queues = {"main": {"url": redis_servers.main.url}, "other": {"url": redis_servers.other.url}, "here": {"url": "sqlite:"}}
    topics = [{"name": f"{topic}-{name}", "partitions": 2, "queue": name} for name in queues]
    async with running(configured(queues=queues, topics=topics)) as process:
        for name in queues:
            assert (await post(process, name, query=f"?topic={topic}-{name}"))[0] == 202
        assert sorted([await process.next() for _ in queues]) == [(name, b"{}") for name in sorted(queues)]
        assert len({path for path, _ in process.terms}) == len(queues)


async def test_the_next_runtime_takes_a_topic_over_when_its_holder_stops(configured, tmp_path, topic):
    """R1, R2: one process relays at a time; each term's token is larger than the one before."""
    term = f"/relays/relay[{topic}]/term"
    async with running(configured(data=str(tmp_path / "first"))) as first:
        await eventually(lambda: asyncio.sleep(0, first.place(term) is not None))
        async with running(configured(data=str(tmp_path / "second"))) as second:
            assert (await post(second, "before"))[0] == 202
            async with asyncio.timeout(60):
                next_ = [asyncio.create_task(process.next()) for process in (first, second)]
                done, rest = await asyncio.wait(next_, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result() for task in done] == [("before", b"{}")]
            for task in rest:
                task.cancel()
            assert second.place(term) is None
            await first.runtime.stop()
            assert (await post(second, "after"))[0] == 202
            assert await second.next() == ("after", b"{}")
            assert len(first.terms) == len(second.terms) == 1
            assert second.terms > first.terms


async def test_all_in_sync_replicas_are_offered_only_where_that_is_true(configured, topic):
    """G4: by the topic's settings in Kafka, for each topic; the answer says what it was worth."""
    weak = {"name": f"{topic}-weak", "partitions": 1, "min_insync": 1}
    few = {"name": f"{topic}-few", "partitions": 1, "replication": 2}
    async with running(configured(topics=[{"name": topic, "partitions": 1}, weak, few])) as process:
        assert (await post(process, "a"))[1]["durability"] == "written by the leader"
        assert (await post(process, "b", query="?acks=all"))[1]["durability"] == "in all in-sync replicas (at least 2)"
        for name in ("weak", "few"):
            status, answer = await post(process, "c", query=f"?acks=all&topic={topic}-{name}")
            assert (status, answer["type"]) == (409, "urn:forebay:problem:acks-not-offered")
        with pytest.raises(AcksNotOffered):
            await process.runtime.enqueue("echo", id="d", topic=f"{topic}-weak", acks=Acks.ALL)
        assert (await post(process, "e", query=f"?topic={topic}-weak"))[0] == 202
        assert sorted([await process.next() for _ in "abe"]) == [("a", b"{}"), ("b", b"{}"), ("e", b"{}")]


async def test_a_topic_that_is_to_keep_acks_all_and_cannot_is_refused_at_the_start(configured, topic):
    """G4."""
    async with running(configured(topics=[{"name": topic, "partitions": 1, "min_insync": 1}])) as process:
        await relaying(process, topic)
    strong = Process(configured(topics=[{"name": topic, "partitions": 1, "acks": "all"}]))
    with pytest.raises(RuntimeStartFailed, match=r"min.insync.replicas is 1 and must be 2 or more for acks: all"):
        await strong.runtime.start()


async def test_two_runtimes_in_one_folder_are_refused_though_their_stores_are_elsewhere(configured, topic):
    async with running(configured()) as process:
        await relaying(process, topic)
        with pytest.raises(DataFolderInUse, match="in use by process"):
            await Process(configured()).runtime.start()


async def test_with_its_queue_away_a_runtime_starts_and_accepts_and_the_queue_is_opened_when_it_is_back(
    configured, redis_servers
):
    """R5: nobody crashes, what is waited for is seen, and nobody has to act."""
    async with Proxy(redis_servers.main.port) as way:
        way.cut()
        async with running(configured(queues={"main": {"url": f"redis://127.0.0.1:{way.port}"}})) as process:
            assert (await post(process, "early"))[0] == 202
            assert waits_for(process, "queue[main]")
            way.heal()
            assert await process.next() == ("early", b"{}")
            assert process.place("/stores/queue[main]").state is State.RUNNING


async def test_with_coordination_away_a_runtime_starts_and_accepts_and_relays_when_it_is_back(configured, consul_server):
    async with Proxy(consul_server.port) as way:
        way.cut()
        async with running(configured(coordination={"url": f"consul://127.0.0.1:{way.port}"})) as process:
            assert (await post(process, "early"))[0] == 202
            assert waits_for(process, "coordination")
            assert process.terms == []
            way.heal()
            assert await process.next() == ("early", b"{}")


async def test_with_its_log_away_a_runtime_starts_says_503_and_goes_on_when_it_is_back(configured, kafka_cluster):
    """G3, G5: what is waited for is seen, nothing is accepted meanwhile, and nobody has to act."""
    async with Proxy(next(iter(kafka_cluster.brokers.values())).port) as way:
        way.cut()
        async with running(configured(log={"url": f"kafka://127.0.0.1:{way.port}"})) as process:
            status, answer = await post(process, "early")
            assert (status, answer["type"]) == (503, "urn:forebay:problem:unavailable")
            assert waits_for(process, "log")
            way.heal()
            await accepted(process, "late")
            assert await process.next() == ("late", b"{}")


async def test_a_stop_ends_the_wait_for_a_store(configured, redis_servers):
    async with Proxy(redis_servers.main.port) as way:
        way.freeze()  # connects, and then nothing
        runtime = Process(configured(log={"url": f"kafka://127.0.0.1:{way.port}"})).runtime
        starting = asyncio.create_task(runtime.start())
        await eventually(lambda: asyncio.sleep(0, way.accepted > 0))
        report = await runtime.stop()
        assert (report.abandoned, report.zombies) == ((), ())
        with pytest.raises(RuntimeStartFailed):
            await starting


async def test_a_store_that_is_not_as_configured_is_refused_at_the_start(configured, topic):
    async with running(configured()) as process:
        await relaying(process, topic)
        await process.runtime.log.ensure([TopicSpec(topic, 3, 3600.0, 2**20)])
    with pytest.raises(RuntimeStartFailed, match="has 3 partitions and 2 are asked for"):
        await Process(configured()).runtime.start()


async def test_a_ttl_that_consul_does_not_admit_is_refused_at_the_start(configured):
    with pytest.raises(RuntimeStartFailed, match=r"set lock\.ttl to between 10s"):
        await Process(configured(lock={"ttl": "300ms"})).runtime.start()


async def test_a_queue_found_to_evict_when_it_is_back_is_parked_and_opened_once_it_is_put_right(configured, redis_servers):
    """Q4: jobs would be dropped there; everything else goes on meanwhile."""
    async with Proxy(redis_servers.other.port) as way, redis_servers.other.client() as admin:
        way.cut()
        queues = {"main": {"url": f"redis://127.0.0.1:{way.port}"}}
        async with running(configured(queues=queues, supervision={"backoff": {"cap": "1s"}})) as process:
            try:
                await admin.config_set("maxmemory-policy", "allkeys-lru")
                way.heal()
                await eventually(lambda: asyncio.sleep(0, process.place("/stores/queue[main]").state is State.PARKED))
                assert "maxmemory-policy noeviction" in process.place("/stores/queue[main]").last_exit
                assert (await post(process, "early"))[0] == 202
            finally:
                await admin.config_set("maxmemory-policy", "noeviction")
            assert await process.next() == ("early", b"{}")
