"""Kafka: a KRaft controller and up to six brokers in three racks, each a process with a small heap."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import anyio
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from anyio import to_thread
from attrs import frozen

from forebay.scenarios.servers.ports import HOST
from forebay.scenarios.servers.program import Program, output_of
from forebay.scenarios.servers.server import LOOK, START, Server, ServerFailed
from forebay.scenarios.servers.state import State

RACKS: Final[Mapping[int, str]] = {1: "a", 2: "b", 3: "c", 4: "a", 5: "b", 6: "c"}
"""Broker id -> rack."""
BROKERS: Final = 4
"""As many as there are where nothing else is said. Rack `a` then has two, and can lose both while a majority of three
replicas is elsewhere.
"""
CONTROLLER: Final = "kafka-controller"
CONTROLLER_ID: Final = 0
PATIENCE: Final = 2_000  # ms

JVM: Final = ("-Xms32m", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
"""Small and quick to start: several of these share two cores. No file outside the data folder."""
LOG_LEVEL: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"

CLUSTER: Final[Mapping[str, object]] = {
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "group.initial.rebalance.delay.ms": 0,
    # a dead broker is noticed in seconds, and not in the time that two busy cores may take from a live one
    "broker.heartbeat.interval.ms": 1_000,
    "broker.session.timeout.ms": 6_000,
    "replica.lag.time.max.ms": 10_000,
    # the default reserves 128 MiB of heap
    "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
    "num.network.threads": 2,
    "num.io.threads": 4,
}
COPIES: Final = ("offsets.topic.replication.factor", "transaction.state.log.replication.factor")


class _Node(Server):
    """What controller and brokers share: the command, and the mark that says to which cluster a folder belongs."""

    node_id: int
    brokers: int

    @property
    def data(self) -> Path:
        """Where its log lies."""
        return self.folder / "data"

    def command(self) -> list[str]:
        """Run it on the written properties."""
        return [*_java(self.program), "kafka.Kafka", str(self.folder / "server.properties")]

    def properties(self) -> dict[str, object]:
        """What it is configured with, besides what the whole cluster is."""
        controller = f"{CONTROLLER_ID}@{HOST}:{self._state.port(CONTROLLER)}"
        return {"node.id": self.node_id, "controller.quorum.voters": controller, "log.dirs": self.data}

    async def prepare(self) -> None:
        """Write its properties, and format its folder if that is empty."""
        copies = dict.fromkeys(COPIES, min(3, self.brokers))
        properties = {**CLUSTER, **copies, **self.properties()}
        text = "".join(f"{key}={value}\n" for key, value in properties.items())
        (self.folder / "server.properties").write_text(text)
        if not (self.data / "meta.properties").exists():
            await self.format(cluster_id(self._state.folder))

    @abstractmethod
    async def format(self, cluster: str) -> None:
        """Make an empty folder one of this cluster."""


class KafkaController(_Node):
    """The one that decides who leads. While it is away nothing changes, and leaders go on."""

    node_id = CONTROLLER_ID

    def __init__(self, program: Program, state: State, *, brokers: int, detached: bool) -> None:
        super().__init__(CONTROLLER, program, state, detached=detached)
        self.brokers = brokers

    def properties(self) -> dict[str, object]:
        """A controller and nothing else."""
        copies = min(3, self.brokers)
        roles = {"process.roles": "controller", "listeners": f"CONTROLLER://{self.address}"}
        return {**super().properties(), **roles, "default.replication.factor": copies}

    async def format(self, cluster: str) -> None:
        """By Kafka's own tool: it writes which features a new cluster has."""
        tool = [*_java(self.program), "kafka.tools.StorageTool", "format", "--cluster-id", cluster]
        command = [*tool, "--config", str(self.folder / "server.properties")]
        await to_thread.run_sync(output_of, self.name, command, f"see {self.folder}", self.program.environ)

    async def answers(self) -> bool:
        """Whether it listens."""
        try:
            stream = await anyio.connect_tcp(HOST, self.port)
        except OSError:
            return False
        await stream.aclose()
        return True


class KafkaBroker(_Node):
    """A broker in a rack."""

    def __init__(self, node_id: int, program: Program, state: State, *, brokers: int, detached: bool) -> None:
        super().__init__(f"kafka-{node_id}", program, state, detached=detached)
        self.node_id = node_id
        self.brokers = brokers
        self.rack = RACKS[node_id]
        self.guests: dict[str, int] = {}
        """Who finds this broker at a port of their own, and which: that of a proxy in front of what `admit` returned."""

    def admit(self, guest: str) -> int:
        """Return the port of a listener for one client alone, to whom this broker names the port in `guests` as its own.

        A client asks each broker where the others are; so only a port that is told it, and no one else, leads by a proxy.
        To be called, and `guests` to be filled, before the broker starts.
        """
        self._state.give_ports([self._door(guest)])
        return self._state.port(self._door(guest))

    def _door(self, guest: str) -> str:
        return f"{self.name}-for-{guest}"

    def properties(self) -> dict[str, object]:
        """A broker and nothing else."""
        roles = {"process.roles": "broker", "broker.rack": self.rack, "listeners": f"PLAINTEXT://{self.address}"}
        return {**super().properties(), **roles, **self._doors()}

    def _doors(self) -> dict[str, object]:
        """A listener for each guest, which is told the proxy's port."""
        if not self.guests:
            return {}
        names = [f"GUEST{number}" for number in range(len(self.guests))]
        own = [
            f"{name}://{HOST}:{self._state.port(self._door(guest))}" for name, guest in zip(names, self.guests, strict=True)
        ]
        told = [f"{name}://{HOST}:{port}" for name, port in zip(names, self.guests.values(), strict=True)]
        return {
            "listeners": ",".join([f"PLAINTEXT://{self.address}", *own]),
            "advertised.listeners": ",".join([f"PLAINTEXT://{self.address}", *told]),
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(f"{n}:PLAINTEXT" for n in ("PLAINTEXT", "CONTROLLER", *names)),
        }

    async def format(self, cluster: str) -> None:
        """By hand: for a broker Kafka's tool writes just this, and a JVM for each would double the time to start."""
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "meta.properties").write_text(f"version=1\nnode.id={self.node_id}\ncluster.id={cluster}\n")

    async def answers(self) -> bool:
        """Whether it is in the cluster and knows it."""
        return self.node_id in await self.members()

    async def members(self) -> frozenset[int]:
        """Return the ids of the brokers that are alive, as this one knows; none if it does not answer."""
        try:
            await (await anyio.connect_tcp(HOST, self.port)).aclose()
        except OSError:
            return frozenset()  # asking it through the client would make that log an error
        client = AIOKafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=PATIENCE)
        try:
            await client.start()
            found = await client.describe_cluster()
        except (KafkaError, OSError):
            return frozenset()
        finally:
            await client.close()
        return frozenset(broker["node_id"] for broker in found["brokers"])


@frozen
class KafkaCluster:
    """The controller, and the brokers by id."""

    controller: KafkaController
    brokers: Mapping[int, KafkaBroker]

    def __iter__(self) -> Iterator[KafkaController | KafkaBroker]:
        yield self.controller
        yield from self.brokers.values()

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses, separated by commas."""
        return ",".join(broker.address for broker in self.brokers.values())

    @property
    def url(self) -> str:
        """As `log.url` takes it."""
        return f"kafka://{self.bootstrap}"

    def rack(self, name: str) -> list[KafkaBroker]:
        """Return the brokers of a rack: a, b or c."""
        return [broker for broker in self.brokers.values() if broker.rack == name]

    async def ready(self) -> None:
        """Wait until each running broker knows all running ones. Raises `ServerFailed`."""
        running = {number: broker for number, broker in self.brokers.items() if broker.process is not None}
        with anyio.move_on_after(START):
            for broker in running.values():
                while not await broker.members() >= running.keys():  # noqa: ASYNC110 - other processes send no event
                    await anyio.sleep(LOOK)
            return
        words = "\n".join(broker.last_words() for broker in running.values())
        raise ServerFailed(f"the brokers {sorted(running)} do not all know each other after {START:.0f} s; {words}")


def kafka_cluster(program: Program, state: State, *, brokers: int, detached: bool) -> KafkaCluster:
    """Return the cluster, with the first so many brokers; nothing is started."""
    nodes = {
        number: KafkaBroker(number, program, state, brokers=brokers, detached=detached) for number in list(RACKS)[:brokers]
    }
    return KafkaCluster(KafkaController(program, state, brokers=brokers, detached=detached), nodes)


def cluster_id(folder: Path) -> str:
    """Return the id of the cluster in a data folder; it is made once."""
    path = folder / "kafka-cluster-id"
    if not path.exists():
        path.write_text(urlsafe_b64encode(b"\1" + secrets.token_bytes(15)).decode().rstrip("="))
    return path.read_text()


def _java(program: Program) -> list[str]:
    java, *words = program.command
    return [java, *JVM, LOG_LEVEL, *words]
