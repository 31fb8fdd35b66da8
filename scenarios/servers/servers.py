"""All servers of one data folder: started together, found again by its state file, stopped together."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self, TypeVar

import anyio
from attrs import frozen

from forebay.scenarios.servers.cache import locked
from forebay.scenarios.servers.consul_server import PARTS, ConsulServer
from forebay.scenarios.servers.kafka_cluster import BROKERS, CONTROLLER, KafkaCluster, kafka_cluster
from forebay.scenarios.servers.process import Process
from forebay.scenarios.servers.program import Program
from forebay.scenarios.servers.redis_server import RedisServers, redis_servers
from forebay.scenarios.servers.server import STOP, Server
from forebay.scenarios.servers.state import State

_T = TypeVar("_T")


class Servers:
    """The servers of a data folder, of the kinds that `programs` has.

    Unless `detached`, their processes are killed by the kernel when the thread that started them ends. Those of the folder
    that run already are taken over. One `Servers` at a time may change a folder (`alone`). `async with` starts all, and
    kills all at the end.
    """

    def __init__(
        self, data: Path, programs: Mapping[str, Program], *, brokers: int = BROKERS, detached: bool = False
    ) -> None:
        """Choose ports for servers that have none yet; of Kafka there are so many `brokers`, 1 to 6.

        Raises `ValueError` if the folder's state is damaged, `OSError`.
        """
        self.data = data.absolute()
        self.data.mkdir(parents=True, exist_ok=True)
        self._state = State.of(self.data)
        state = self._state
        self._redis = redis_servers(programs["redis"], state, detached=detached) if "redis" in programs else None
        self._consul = ConsulServer("consul", programs["consul"], state, detached=detached) if "consul" in programs else None
        kafka = programs.get("kafka")
        self._kafka = None if kafka is None else kafka_cluster(kafka, state, brokers=brokers, detached=detached)
        state.give_ports([*(server.name for server in self), *(PARTS[1:] if "consul" in programs else ())])
        state.save()

    def __iter__(self) -> Iterator[Server]:
        yield from self._redis or ()
        if self._consul is not None:
            yield self._consul
        yield from self._kafka or ()

    @property
    def redis(self) -> RedisServers:
        """The Redis servers. Raises `LookupError` if there are none here, as the next ones do."""
        return _present(self._redis, "redis")

    @property
    def consul(self) -> ConsulServer:
        """The Consul server."""
        return _present(self._consul, "consul")

    @property
    def kafka(self) -> KafkaCluster:
        """The Kafka cluster."""
        return _present(self._kafka, "kafka")

    async def start(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Start all that are not running, all at once, and wait until each answers. Raises `ServerFailed`, `CannotGet`.

        `say` is told when a process was started and when it answers. Those that run when another fails are left running.
        """
        for server in self:
            if server.process is None:
                await server.launch()
                say(f"{server.name}: started on {server.address}")
        for server in self:
            await server.ready()
            say(f"{server.name}: ready")
        if self._kafka is not None:
            await self._kafka.ready()

    async def stop(self, grace: float = STOP) -> None:
        """Stop all, brokers before their controller; kill those that take longer than `grace` seconds, 0 for at once."""
        await _stop_all(self._state, grace)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self.stop(0)

    def config_lines(self) -> str:
        """Return the lines of a configuration that connect to these servers."""
        lines = []
        if self._kafka is not None:
            lines.append(f'log: {{url: "{self._kafka.url}"}}')
        if self._consul is not None:
            lines.append(f'coordination: {{url: "{self._consul.url}"}}')
        if self._redis is not None:
            lines += ["queues:", f'  main: {{url: "{self._redis.main.url}"}}   # its replica: {self._redis.replica.address}']
            lines.append(f'  other: {{url: "{self._redis.other.url}"}}')
        return "\n".join(lines)


@contextmanager
def alone(data: Path) -> Iterator[None]:
    """Wait until no other process that uses this works on the data folder, and keep others out."""
    data.mkdir(parents=True, exist_ok=True)
    with locked(data / "services.lock"):
        yield


@frozen
class Status:
    """A server as the state file and the kernel know it: running, paused or down."""

    name: str
    port: int
    pid: int | None
    condition: str


def status(data: Path) -> list[Status]:
    """Return how the servers of a data folder are; none if there never were any. Raises `ValueError` as `State.of`."""
    state = State.of(data)
    inner = set(PARTS[1:])
    return [_status_of(name, port, state.process(name)) for name, port in state.ports.items() if name not in inner]


async def stop(data: Path, say: Callable[[str], None]) -> None:
    """Stop the running servers of a data folder, and nothing else. Raises `ValueError` as `State.of`."""
    await _stop_all(State.of(data), STOP, say)


def _status_of(name: str, port: int, process: Process | None) -> Status:
    if process is None:
        return Status(name, port, None, "down")
    return Status(name, port, process.pid, "paused" if process.state in {"T", "t"} else "running")


_AFTER_BROKERS: Final = CONTROLLER
"""A broker that stops hands its partitions over, and for that it needs the controller."""


async def _stop_all(state: State, grace: float, say: Callable[[str], None] = lambda _: None) -> None:
    running = {name: process for name in list(state.processes) if (process := state.process(name)) is not None}
    first = [name for name in running if name != _AFTER_BROKERS]
    await _end({name: running[name] for name in first}, grace, say)
    await _end({name: running[name] for name in running.keys() - first}, grace, say)
    for name in list(state.processes):
        if state.process(name) is None:
            state.ended(name)


async def _end(processes: Mapping[str, Process], grace: float, say: Callable[[str], None]) -> None:
    """Ask all at once, wait for all, kill who is left."""
    if grace > 0:
        for process in processes.values():
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)
        deadline = anyio.current_time() + grace
        for process in processes.values():
            await process.ended(max(0.0, deadline - anyio.current_time()))
    for name, process in processes.items():
        how = "killed" if process.send(signal.SIGKILL) else "stopped"
        await process.ended(STOP)
        say(f"{name}: {how}")


def _present(found: _T | None, kind: str) -> _T:
    if found is None:
        raise LookupError(f"these servers have no {kind}; name it when they are made")
    return found
