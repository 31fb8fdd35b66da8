"""Fixtures: real servers, started once for the whole run and only if a test asks for them.

A test that does harm to a server heals it again (`server.start()` in a `finally`), or makes `Servers` of its own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.services import require

from forebay.scenarios.servers import ConsulServer, KafkaCluster, RedisServers, Servers


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Wait until a server is as a test expects it; it has no event for that. Fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not so after {seconds:.0f} s"
        await asyncio.sleep(0.05)


@contextmanager
def running(kind: str, factory: pytest.TempPathFactory, **options: Any) -> Iterator[Servers]:
    """The servers of one kind. They have a loop of their own to start and stop on, and belong to no test's loop."""
    servers = Servers(factory.mktemp(kind), {kind: require(kind)}, **options)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        try:
            runner.run(servers.start())
            yield servers
        finally:
            runner.run(servers.stop(0))


@pytest.fixture(scope="session")
def redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServers]:
    with running("redis", tmp_path_factory) as servers:
        yield servers.redis


@pytest.fixture(scope="session")
def consul_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with running("consul", tmp_path_factory) as servers:
        yield servers.consul


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    with running("kafka", tmp_path_factory) as servers:
        yield servers.kafka


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A cluster of one broker, for faults of everything else: four cost more than all that is tested together."""
    with running("kafka", tmp_path_factory, brokers=1) as servers:
        yield servers.kafka
