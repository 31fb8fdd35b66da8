"""The servers that a scenario is played on: throw-away ones for one run, or some that are there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import frozen

from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.servers import (
    KINDS,
    CannotGet,
    ConsulServer,
    KafkaCluster,
    Program,
    RedisServer,
    RedisServers,
    Servers,
    find,
)

Say = Callable[[str], None]


@frozen
class Site:
    """The servers. They are healthy when a run begins, and again when it has ended; what it wrote stays there."""

    redis: RedisServers
    consul: ConsulServer
    kafka: KafkaCluster

    def primaries(self) -> list[tuple[RedisServer, RedisServer | None]]:
        """The Redis servers that a queue may have, each with its replica."""
        return [(self.redis.main, self.redis.replica), (self.redis.other, None)]


def programs() -> dict[str, Program]:
    """The servers' programs. Raises `CannotGet`, with all that is missing and how to get it; nothing is downloaded."""
    found = {kind: find(kind) for kind in KINDS}
    missing = [kind for kind, program in found.items() if program is None]
    if missing:
        names = ",".join(missing)
        raise CannotGet(f"{', '.join(missing)}: not on this machine; `forebay services get --only {names}` downloads them")
    return {kind: program for kind, program in found.items() if program is not None}


def brokers_for(scenario: Scenario) -> int:
    """As many brokers as it says where one of its faults is about them, else one: three cost more than all the rest."""
    return scenario.kafka.brokers if any(fault.do.startswith("kafka.") for fault in scenario.faults) else 1


@asynccontextmanager
async def throw_away(folder: Path, brokers: int, say: Say) -> AsyncIterator[Site]:
    """Servers of its own, that are killed in the end. Raises `CannotGet`, `ServerFailed`."""
    have = programs()
    say(f"starting Redis, Consul and {brokers} of Kafka's brokers")
    async with Servers(folder, have, brokers=brokers) as servers:
        yield Site(servers.redis, servers.consul, servers.kafka)
