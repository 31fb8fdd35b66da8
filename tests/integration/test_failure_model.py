"""The tree itself says what restarts with what (A3): read off the event stream of a whole runtime."""

from __future__ import annotations

import asyncio

import pytest

from forebay.actors.events import Incident, Started
from forebay.actors.relay.campaign import lock_key
from forebay.actors.relay.messages import BrokerGone
from forebay.actors.snapshot import State
from forebay.jobs import Registry
from forebay.supervisors.runtime import Runtime

RELAY = "/relays/relay[jobs]"
CONSUMERS = [f"{RELAY}/term/partitions/partition_consumer[{n}]" for n in range(3)]
OTHER = "/relays/relay[other]/term/partitions/partition_consumer[0]"
TERM = [f"{RELAY}/term/{role}" for role in ("rate_limiter", "kafka_connection", "redis_writer")]


class Watched:
    """A running runtime and what has started in it since `mark()`."""

    def __init__(self, runtime, subscription):
        self.runtime = runtime
        self.subscription = subscription
        self.supervisors = {node.path for node in runtime.tree().walk() if node.kind == "supervisor"}

    async def settled(self):
        """Wait until every place of the tree runs, the relay's consumers included."""
        async with asyncio.timeout(20):
            while not self.all_running():
                await asyncio.sleep(0.01)

    def all_running(self):
        nodes = {node.path: node for node in self.runtime.tree().walk()}
        return {*CONSUMERS, OTHER} <= set(nodes) and all(node.state is State.RUNNING for node in nodes.values())

    def since(self):
        """The events since the last look."""
        return self.subscription.drain()

    def incarnations(self):
        return {node.path: node.incarnation for node in self.runtime.tree().walk() if node.kind == "actor"}


@pytest.fixture
async def watched(tmp_path):
    registry = Registry()
    config = {
        "data": str(tmp_path / "data"),
        "topics": [{"name": "jobs", "partitions": 3}, {"name": "other", "partitions": 1}],
        "gate": {"port": 0},
        "console": False,
        "workers": {"slots": 3},
        "lock": {"ttl": "1s", "lock_delay": 0},
    }
    runtime = Runtime.from_config(config, registry=registry)
    runtime.registry = registry
    async with runtime:
        watched = Watched(runtime, runtime.events.subscribe(10_000))
        await watched.settled()
        watched.supervisors = {node.path for node in runtime.tree().walk() if node.kind == "supervisor"}
        watched.since()
        yield watched


async def failed_and_back(watched, fail):
    """Return the actors that started again, in order, the incidents, and how the incarnations changed."""
    before = watched.incarnations()
    await fail()
    async with asyncio.timeout(20):
        events = []
        while not any(isinstance(event, Started) for event in events) or not watched.all_running():
            await asyncio.sleep(0.01)
            events += watched.since()
    events += watched.since()
    started = [e.path for e in events if isinstance(e, Started) and e.path not in watched.supervisors]
    incidents = [(e.path, e.child) for e in events if isinstance(e, Incident)]
    raised = {path: count - before[path] for path, count in watched.incarnations().items() if count != before[path]}
    return started, incidents, raised


async def test_a_lost_lock_begins_the_whole_term_anew_and_nothing_else(watched):
    async def lose_the_lock():
        await watched.runtime.coordination.delete(lock_key("jobs"))

    started, incidents, raised = await failed_and_back(watched, lose_the_lock)
    # topic_lock is what exits; then limiter, connection, writer and consumers, in that order, and nothing else.
    assert started == [f"{RELAY}/topic_lock", *TERM, *CONSUMERS]
    assert incidents == [(RELAY, "topic_lock")]
    assert raised == dict.fromkeys(started, 1)


async def test_a_gone_broker_restarts_connection_writer_and_consumers_once_as_one_incident(watched):
    async def lose_the_broker():
        watched.runtime.inject(f"{RELAY}/term/kafka_connection", BrokerGone("no broker answers"))

    started, incidents, raised = await failed_and_back(watched, lose_the_broker)
    assert started == [*TERM[1:], *CONSUMERS]
    assert incidents == [(f"{RELAY}/term", "kafka_connection")]
    assert raised == dict.fromkeys(started, 1)


async def test_a_consumers_crash_restarts_it_alone(watched):
    async def crash():
        watched.runtime.inject(CONSUMERS[1], RuntimeError("a bug"))

    started, incidents, raised = await failed_and_back(watched, crash)
    assert started == [CONSUMERS[1]]
    assert incidents == [(f"{RELAY}/term/partitions", "partition_consumer[1]")]
    assert raised == {CONSUMERS[1]: 1}


async def test_a_dispatchers_crash_interrupts_no_running_handler(watched):
    running, go_on, ended = asyncio.Event(), asyncio.Event(), []

    @watched.runtime.registry.job("long")
    async def long(ctx):
        running.set()
        try:
            await go_on.wait()
        finally:
            ended.append((ctx.id, ctx.attempt, asyncio.current_task().cancelling()))

    job = await watched.runtime.enqueue("long")
    async with asyncio.timeout(10):
        await running.wait()

    async def crash():
        watched.runtime.inject("/workers/dispatcher", RuntimeError("a bug"))

    started, incidents, raised = await failed_and_back(watched, crash)
    assert started == ["/workers/dispatcher", "/workers/scheduler", "/workers/reaper"]
    assert incidents == [("/workers", "dispatcher")]
    assert set(raised) == set(started)
    assert ended == []
    go_on.set()
    queue = watched.runtime.queue("jobs")
    async with asyncio.timeout(10):
        while (await queue.counts("jobs")).unfinished:
            await asyncio.sleep(0.01)
    assert ended == [(job.id, 1, 0)]
