"""The whole path of one process: HTTP, log, relay, queue, worker; and which incarnations rise after which failure.

Each test runs twice, on the embedded stores and on Kafka, Consul and Redis: one configuration with other URLs.
"""

import asyncio
import json
import urllib.request
from collections import Counter
from contextlib import asynccontextmanager
from itertools import count

import pytest
from attrs import evolve

from forebay import Incident, Registry, Runtime, Started
from forebay.actors.relay.campaign import lock_key
from forebay.actors.relay.messages import BrokerGone
from forebay.backends.ports import Acks, NewRecord
from forebay.jobs import JobPost, encode
from forebay.supervisors.stores import topic_spec

NUMBERS = count(1)


class Place:
    """A configuration of which only the URLs differ, and the paths of its topic's roles."""

    def __init__(self, folder, urls):
        self.topic = f"whole-{next(NUMBERS)}"  # the servers are shared
        self.relay = f"/relays/relay[{self.topic}]"
        self.term = f"{self.relay}/term"
        lanes = [f"{lane}_consumer[{n}]" for lane in ("partition", "retry") for n in range(3)]
        self.consumers = [f"{self.term}/partitions/{consumer}" for consumer in lanes]
        self.config = {
            "data": str(folder / "data"),
            "topics": [{"name": self.topic, "partitions": 3}],
            "gate": {"port": 0},
            "console": False,
            "workers": {"slots": 3, "drain": "1s"},
        } | urls

    def roles(self, *names):
        return [f"{self.term}/{name}" for name in names]


@pytest.fixture(params=["embedded", "servers"])
def place(request, tmp_path):
    if request.param == "embedded":
        return Place(tmp_path, {})
    kafka, consul, redis = map(request.getfixturevalue, ("kafka_cluster", "consul_server", "redis_servers"))
    urls = {"log": {"url": kafka.url}, "coordination": {"url": consul.url}, "queues": {"main": {"url": redis.main.url}}}
    return Place(tmp_path, urls)


class Seen:
    """What handlers saw, by job id; `of(n)` returns once there are `n` runs."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, bytes]] = []
        self._more = asyncio.Condition()

    async def add(self, id_: str, raw: bytes) -> None:
        async with self._more:
            self.runs.append((id_, raw))
            self._more.notify_all()

    async def of(self, number: int) -> list[tuple[str, bytes]]:
        async with asyncio.timeout(30), self._more:
            await self._more.wait_for(lambda: len(self.runs) >= number)
        return self.runs


@asynccontextmanager
async def running(place):
    """A runtime whose `echo` handler records, and whose `gated` handler waits until its gate opens."""
    registry, seen, gate = Registry(), Seen(), asyncio.Event()

    @registry.job("echo")
    async def echo(job):
        await seen.add(job.id, job.raw)

    @registry.job("gated")
    async def gated(job):
        await seen.add(job.id, b"begun")
        await gate.wait()
        await seen.add(job.id, b"ended")

    async with Runtime.from_config(place.config, registry=registry) as runtime:
        await runtime.enqueue("echo", id="first")  # the term has begun once this one is done
        await seen.of(1)
        seen.runs.clear()
        yield runtime, seen, gate


def post(url: str, body: bytes) -> dict:
    request = urllib.request.Request(f"{url}/v1/jobs", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


HARD = (
    rb'{ "a" : "</script> & \/ \u00e9\u2028 ' + "é\U0001f600".encode() + rb'", "n": 9007199254740993, "z": -0, "e": 1E+2,'
    rb' "d": 1, "d": 2, "t": "' + b"x<>&/" * 200_000 + rb'" }'
)


async def test_a_hard_payload_reaches_the_handler_byte_for_byte(place):
    assert len(HARD) > 1_000_000
    async with running(place) as (runtime, seen, _):
        url = await runtime.gate_url()
        await asyncio.to_thread(post, url, b'{"type": "echo", "id": "hard", "args": ' + HARD + b"}")
        assert await seen.of(1) == [("hard", HARD)]


async def test_jobs_that_differ_only_beyond_2_to_the_53_are_two_and_equal_ones_are_one(place):
    async with running(place) as (runtime, seen, _):
        url = await runtime.gate_url()
        for id_, number in (("a", 2**53), ("b", 2**53 + 1), ("c", 2**53)):  # of one key: in one partition, in this order
            body = {"type": "echo", "id": id_, "key": "one", "dedup": True, "delay": 1.0, "args": number}
            await asyncio.to_thread(post, url, json.dumps(body).encode())
        await runtime.enqueue("echo", id="last", delay=1.5)
        runs = await seen.of(3)
    assert sorted(runs) == [("a", b"9007199254740992"), ("b", b"9007199254740993"), ("last", b"{}")]


async def test_a_crashed_handler_is_tried_again_and_its_slot_lives(place):
    registry, attempts = Registry(), []
    done = asyncio.Event()

    @registry.job("crash")
    async def crash(job):
        attempts.append(job.attempt)
        if job.attempt == 1:
            raise FirstAttemptFails
        done.set()

    async with Runtime.from_config(place.config, registry=registry) as runtime:
        await runtime.enqueue("crash")
        async with asyncio.timeout(30):
            await done.wait()
        assert all(node.incarnation == 1 for node in runtime.tree().walk())
    assert attempts == [1, 2]


class FirstAttemptFails(Exception):
    """What the handler of the test above fails with."""


class Risen:
    """Collects, in order, who starts from now on, and the incidents."""

    def __init__(self, runtime: Runtime) -> None:
        self._subscription = runtime.events.subscribe()
        self.before = incarnations(runtime)
        self.started: list[str] = []
        self.incidents: list[Incident] = []

    async def until(self, *paths: str) -> None:
        """Return once each of these has started."""
        async with asyncio.timeout(30):
            while not set(paths) <= set(self.started):
                event = await anext(self._subscription)
                if isinstance(event, Started):
                    self.started.append(event.path)
                elif isinstance(event, Incident):
                    self.incidents.append(event)


def incarnations(runtime: Runtime) -> dict[str, int]:
    return {node.path: node.incarnation for node in runtime.tree().walk() if node.kind != "supervisor"}


def raised(runtime: Runtime, risen: Risen) -> dict[str, int]:
    """By how much each actor's incarnation has grown, where it has."""
    now = incarnations(runtime)
    assert now.keys() == risen.before.keys()
    return {path: now[path] - before for path, before in risen.before.items() if now[path] != before}


def in_order(started: list[str], *paths: str) -> bool:
    return [path for path in started if path in paths] == list(paths)


async def test_a_lost_lock_raises_the_whole_term_by_one_in_order_and_nothing_else(place):
    async with running(place) as (runtime, seen, _):
        risen = Risen(runtime)
        await runtime.coordination.delete(lock_key(place.topic))
        last = place.roles("retention_watch", "ends_writer")
        await risen.until(*place.consumers, *last)
        roles = place.roles("rate_limiter", "kafka_connection", "retry_connection", "redis_writer", "settled_marks")
        assert raised(runtime, risen) == dict.fromkeys([f"{place.relay}/topic_lock", *roles, *place.consumers, *last], 1)
        assert in_order(risen.started, *roles, place.consumers[0], *last)
        await runtime.enqueue("echo", id="after")
        await seen.of(1)


async def test_a_gone_broker_raises_connection_writer_and_consumers_once_as_one_incident(place):
    async with running(place) as (runtime, seen, _):
        risen = Risen(runtime)
        runtime.inject(f"{place.term}/kafka_connection", BrokerGone("no broker answers"))
        last = place.roles("retention_watch", "ends_writer")
        await risen.until(*place.consumers, *last)
        roles = place.roles("kafka_connection", "retry_connection", "redis_writer", "settled_marks")
        assert raised(runtime, risen) == dict.fromkeys([*roles, *place.consumers, *last], 1)
        assert Counter(risen.started).most_common(1)[0][1] == 1
        assert [(incident.child, incident.environment) for incident in risen.incidents] == [("kafka_connection", True)]
        await runtime.enqueue("echo", id="after")
        await seen.of(1)


async def test_a_consumers_crash_raises_its_own_incarnation_alone(place):
    async with running(place) as (runtime, _, _):
        risen = Risen(runtime)
        runtime.inject(place.consumers[1], ValueError("crash"))
        await risen.until(place.consumers[1])
        assert raised(runtime, risen) == {place.consumers[1]: 1}


@pytest.mark.parametrize("role", ["dispatcher", "scheduler", "reaper"])
async def test_a_crash_behind_the_slots_interrupts_no_running_handler(place, role):
    async with running(place) as (runtime, seen, gate):
        await runtime.enqueue("gated", id="long")
        await seen.of(1)
        risen = Risen(runtime)
        runtime.inject(f"/workers/{role}", ValueError("crash"))
        await risen.until(f"/workers/{role}", "/workers/reaper")
        assert all("slot" not in path and "lease_keeper" not in path for path in raised(runtime, risen))
        await runtime.enqueue("echo", id="meanwhile")
        await seen.of(2)
        gate.set()
        assert await seen.of(3) == [("long", b"begun"), ("meanwhile", b"{}"), ("long", b"ended")]


async def test_jobs_of_partitions_that_were_added_later_are_relayed_and_run_without_a_restart(place):
    """R1, R4: another process that is configured with more partitions makes them."""
    async with running(place) as (runtime, seen, _):
        (topic,) = runtime.config.topics
        await runtime.log.ensure([topic_spec(evolve(topic, partitions=5))])
        value, headers = encode(JobPost(type="echo", args=b"7"), id_="late", enqueued_at=0)
        await runtime.log.append([NewRecord(place.topic, 4, value, headers=headers)], Acks.LEADER)
        assert await seen.of(1) == [("late", b"7")]
