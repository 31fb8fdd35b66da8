"""One client of a cluster: who leads which partition, and requests to brokers by id.

Metadata is asked for all topics at once: asking for one by name lets a broker create it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.conn import create_conn
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import TopicPartition

from forebay.backends.errors import BackendError, Unavailable, UnknownPartition, UnknownTopic
from forebay.backends.kafka.calls import Calls
from forebay.backends.kafka.faults import translated

METADATA_AGE: Final = 60_000
"""Milliseconds after which leaders and partitions are asked for again, if no error made that necessary before."""

CLOSE: Final = 2.0
"""Seconds that closing the sockets may take."""

DIRECT: Final = ConnectionGroup.DEFAULT
"""The socket for requests that brokers answer at once."""

PATIENT: Final = ConnectionGroup.COORDINATION
"""A second socket to the same broker: one that holds a request back serves no other on that socket meanwhile."""


class Client(AIOKafkaClient):  # type: ignore[misc]
    """The library's client, whose first connection is closed however the bootstrap ends, and which goes back to the servers
    that it was given when it knows of no other that answers.

    The library leaves that connection to the garbage collector when it is cancelled while it waits for the answer.
    """

    async def bootstrap(self) -> None:
        """Learn who the brokers are from the first that answers. Raises `KafkaConnectionError`."""
        if not await self._learn(self.cluster, MetadataRequest([])):
            raise errors.KafkaConnectionError(f"none of {self.hosts} answers")
        self._sync_task = asyncio.get_running_loop().create_task(self._md_synchronizer())

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:
        """Learn the topics and leaders from any broker; return whether one answered.

        The library asks those of its last answer alone. That may have named one of many, as the others were down, and all
        of them may have other addresses by now.
        """
        if await super()._metadata_update(cluster_metadata, topics):
            return True
        return await self._learn(cluster_metadata, MetadataRequest(list(topics) or None))

    async def _learn(self, cluster_metadata: Any, request: MetadataRequest) -> bool:
        """Take what the first of the servers says that answers and knows of brokers; return whether there was one."""
        for host, port, _ in self.hosts:
            with suppress(OSError, errors.KafkaError, TimeoutError):
                answer = await self._first_answer(host, port, request)
                if answer.brokers:
                    cluster_metadata.update_metadata(answer)
                    return True
        return False

    async def _first_answer(self, host: str, port: int, request: MetadataRequest) -> Any:
        connection = await create_conn(host, port, client_id=self._client_id, request_timeout_ms=self._request_timeout_ms)
        try:
            return await connection.send(request)
        finally:
            connection.close()


class Cluster:
    """The brokers behind `servers` ("host:port,host:port"). No call takes much longer than `timeout` seconds.

    `made` has the partitions of the topics that are known to have been made, and may grow: one of these that is not there
    now is `Unavailable`, as a broker that has just started has not heard of it yet.
    """

    def __init__(self, servers: str, timeout: float, made: Mapping[str, int] = MappingProxyType({})) -> None:
        self.servers = servers
        self.timeout = timeout
        self._made = made
        self._client: Any = None
        self._calls = Calls()

    @property
    def open(self) -> bool:
        """Whether requests can be made."""
        return self._client is not None

    @property
    def client(self) -> Any:
        """The started client. Raises `Unavailable` when closed."""
        if self._client is None:
            raise Unavailable(f"the connection to Kafka at {self.servers} is closed; connect again")
        return self._client

    async def start(self) -> None:
        """Reach one of the brokers. Raises `Unavailable`."""
        client = Client(
            bootstrap_servers=self.servers.split(","),
            request_timeout_ms=int(self.timeout * 1000),
            metadata_max_age_ms=METADATA_AGE,
        )
        started = False
        try:
            with translated(f"reaching Kafka at {self.servers}"):
                await self._calls.within(self.timeout, client.bootstrap(), f"reaching Kafka at {self.servers}")
            await self._refresh(client)
            started = True
        finally:
            if not started:
                await self._close(client)
        self._client = client  # not before: nobody is to begin on a connection that may be given up

    async def close(self) -> None:
        """Close all sockets; requests under way raise `Unavailable`. Takes at most twice `CLOSE` seconds."""
        client, self._client = self._client, None
        if client is not None:
            await self._close(client)

    async def _close(self, client: Any) -> None:
        await self._calls.close(CLOSE)  # first: a call that is connecting would leave its socket behind
        with suppress(Unavailable):
            await self._calls.within(CLOSE, client.close(), "closing the connection to Kafka")

    async def refresh(self) -> None:
        """Ask a broker for the topics and leaders as they are. Raises `Unavailable` if none answers."""
        await self._refresh(self.client)

    async def _refresh(self, client: Any) -> None:
        doing = f"asking Kafka at {self.servers} for its topics"
        with translated(doing):
            answered = await self._calls.within(self.timeout, _answered(client), doing)
        if not answered:
            raise Unavailable(f"{doing}: no broker answers; check that they run and can be reached")

    async def refresh_topic(self, topic: str) -> None:
        """As `refresh`, for who cares about one topic: with hundreds of partitions the others are most of the answer."""
        try:
            found = await self.ask(MetadataRequest([topic], allow_auto_topic_creation=False))
        except (errors.KafkaError, Unavailable):  # another broker may answer
            await self.refresh()
        else:
            self.client.cluster.update_metadata(found)

    async def partitions(self, topic: str) -> int:
        """Return how many partitions the topic has. Raises `UnknownTopic` after asking, or `Unavailable` for one that was
        made.
        """
        count = self.known(topic)
        if count == 0:
            await self.refresh()
            count = self.known(topic)
        if count == 0:
            raise self._missing(UnknownTopic(topic), topic, 0)
        return count

    def known(self, topic: str) -> int:
        """Return how many partitions the topic had when last asked; 0 if it was not there."""
        return len(self.client.cluster.partitions_for_topic(topic) or ())

    async def require(self, topic: str, wanted: Iterable[int]) -> None:
        """Raise `UnknownTopic`, or `UnknownPartition` if one of `wanted` is not there, after asking; `Unavailable` where
        it was made.
        """
        partitions = await self.partitions(topic)
        beyond = [partition for partition in wanted if not 0 <= partition < partitions]
        if beyond and max(beyond) >= partitions:
            await self.refresh()
            partitions = await self.partitions(topic)
            beyond = [partition for partition in beyond if not 0 <= partition < partitions]
        if beyond:
            unmade = next((partition for partition in beyond if not 0 <= partition < self._made.get(topic, 0)), beyond[0])
            raise self._missing(UnknownPartition(topic, unmade, partitions), topic, unmade)

    def _missing(self, error: BackendError, topic: str, partition: int) -> BackendError:
        """Return the error for what is not there: `Unavailable` in place of the answer if it was made."""
        if not 0 <= partition < self._made.get(topic, 0):
            return error
        advice = "a broker that has just started has not heard of it yet, else check that it was not deleted"
        return Unavailable(f"{error}; {advice}")

    def leader(self, topic: str, partition: int) -> int | None:
        """Return the leading broker's id as last heard; None if there is none."""
        node: int | None = self.client.cluster.leader_for_partition(TopicPartition(topic, partition))
        return None if node == -1 else node

    def by_leader(self, topic: str, partitions: Iterable[int]) -> Mapping[int | None, list[int]]:
        """Group partitions by their leader; those without one are under None."""
        groups: dict[int | None, list[int]] = {}
        for partition in partitions:
            groups.setdefault(self.leader(topic, partition), []).append(partition)
        return groups

    async def send(self, node: int, request: Any, group: ConnectionGroup = DIRECT) -> Any:
        """Return the broker's answer. Raises `Unavailable`, and aiokafka's errors: the caller knows what they mean to it."""
        sending = self.client.send(node, request, group=group)
        return await self._calls.within(2 * self.timeout, sending, f"asking Kafka's broker {node}")

    async def coordinator(self, kind: CoordinationType, key: str) -> int:
        """Return the id of the broker that keeps the group `key`. Raises as `send`."""
        asking = self.client.coordinator_lookup(kind, key)
        node: int = await self._calls.within(2 * self.timeout, asking, f"asking Kafka for the coordinator of {key!r}")
        return node

    async def ask(self, request: Any) -> Any:
        """Return any broker's answer. Raises as `send`, or `Unavailable` if there is no broker."""
        node = self.client.get_random_node()
        return await self.send(node, request)

    async def ask_controller(self, request: Any) -> Any:
        """Return the controller's answer, or that of the broker which passes requests on to it. Raises as `ask`."""
        controller = self.client.cluster.controller
        return await (self.ask(request) if controller is None else self.send(controller.nodeId, request))

    @property
    def brokers(self) -> int:
        """How many brokers there were when last asked."""
        return len(self.client.cluster.brokers())


async def _answered(client: Any) -> bool:
    answered: bool = await client.force_metadata_update()
    return answered
