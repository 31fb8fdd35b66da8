"""The servers that a scenario is played on: throw-away ones for one run, or some that are there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from attrs import field, frozen

from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.servers import (
    KINDS,
    CannotGet,
    ConsulServer,
    KafkaCluster,
    Program,
    Proxy,
    RedisServer,
    RedisServers,
    Servers,
    find,
)

Say = Callable[[str], None]

ON_THE_WAY: Final = frozenset({"kafka.cut", "kafka.latency"})
"""Verbs that are about the way from a host to the brokers."""


@frozen
class Site:
    """The servers. They are healthy when a run begins, and again when it has ended. What it wrote stays there, and after a
    failover the first Redis and its replica have exchanged their roles.
    """

    redis: RedisServers
    consul: ConsulServer
    kafka: KafkaCluster
    kafka_ways: Mapping[str, Sequence[Proxy]] = field(factory=dict)
    """Of each host that has some: the proxies by which it alone reaches the brokers, one for each."""

    def primaries(self) -> list[tuple[RedisServer, RedisServer | None]]:
        """The Redis servers that a queue may have, each with its replica."""
        return [(self.redis.main, self.redis.replica), (self.redis.other, None)]


def programs(kinds: Iterable[str] = KINDS) -> dict[str, Program]:
    """The programs of servers by kind; nothing is downloaded. Raises `CannotGet`, with how to get what is missing."""
    found = {kind: find(kind) for kind in kinds}
    missing = [kind for kind, program in found.items() if program is None]
    if missing:
        names = ",".join(missing)
        raise CannotGet(f"{', '.join(missing)}: not on this machine; `forebay services get --only {names}` downloads them")
    return {kind: program for kind, program in found.items() if program is not None}


def needs_brokers(scenario: Scenario) -> bool:
    """Whether it is about several brokers: a fault is about Kafka, or a post or a topic asks for the acks of all."""
    asked = [*(post.acks for post in scenario.workload), *(topic.acks for topic in scenario.topology.topics)]
    return "all" in asked or any(fault.do.startswith("kafka.") for fault in scenario.faults)


def brokers_for(scenario: Scenario) -> int:
    """As many brokers as it says where it is about them, else one: three cost more than all the rest."""
    return scenario.kafka.brokers if needs_brokers(scenario) else 1


def guests_of(scenario: Scenario) -> tuple[str, ...]:
    """The hosts, if one of its faults is about their ways to the brokers: only then there are proxies between."""
    return scenario.hosts if any(fault.do in ON_THE_WAY for fault in scenario.faults) else ()


@asynccontextmanager
async def throw_away(folder: Path, scenario: Scenario, say: Say) -> AsyncIterator[Site]:
    """Servers for a scenario alone, that are killed in the end. Raises `CannotGet`, `ServerFailed`."""
    have, brokers = programs(), brokers_for(scenario)
    servers = Servers(folder, have, brokers=brokers)
    async with AsyncExitStack() as stack:
        ways = await _kafka_ways(stack, servers.kafka, guests_of(scenario))
        say(f"starting Redis, Consul and {brokers} of Kafka's brokers")
        await stack.enter_async_context(servers)
        yield Site(servers.redis, servers.consul, servers.kafka, ways)


@asynccontextmanager
async def redis_alone(folder: Path, say: Say) -> AsyncIterator[RedisServer]:
    """A Redis that nobody follows, which is killed in the end. Raises `CannotGet`, `ServerFailed`."""
    say("starting Redis")
    async with Servers(folder, programs(["redis"])) as servers:
        yield servers.redis.other


async def _kafka_ways(stack: AsyncExitStack, kafka: KafkaCluster, guests: Iterable[str]) -> dict[str, list[Proxy]]:
    ways: dict[str, list[Proxy]] = {}
    for guest in guests:
        for broker in kafka.brokers.values():
            proxy = await stack.enter_async_context(Proxy(broker.admit(guest)))
            broker.guests[guest] = proxy.port
            ways.setdefault(guest, []).append(proxy)
    return ways
