"""The `Log` port on a simulated cluster: a host's client, which fails as the real adapter does.

What is refused is tried again until the timeout, and then `Unavailable`: nothing was written. Where an answer does not come
it is `UnknownOutcome`. As with the real one an append with `Acks.ALL` may be written twice when its leader hands over while
replicas take it: the broker's answer is the same as if it had written nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from forebay.backends.errors import BackendError, RecordTooLarge, Unavailable, UnknownOutcome, UnknownPartition
from forebay.backends.kafka.batch import size_of
from forebay.backends.kafka.log import TIMEOUT
from forebay.backends.kafka.topics import Offers
from forebay.backends.ports import Acks, Extent, NewRecord, OutOfRange, Record, TopicSpec, Want
from forebay.scenarios.simulation.kafka import Found, SimKafka
from forebay.scenarios.simulation.kafka_brokers import Place
from forebay.scenarios.simulation.network import Caller, NoAnswer, Refused, Serve, Silence

T = TypeVar("T")

LOOK_AGAIN: Final = 0.1
"""Seconds before a partition's leader is looked for again."""
HOLD: Final = 5.0
"""Seconds that a broker holds a fetch back at most."""


class Client:
    """One client of the cluster: calls that are made until they are served, or until `timeout` seconds have passed."""

    def __init__(self, kafka: SimKafka, host: str, timeout: float) -> None:
        self.kafka = kafka
        self.timeout = timeout
        self._host = host
        self._caller = Caller(kafka.network, host)

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._caller.is_open

    async def open(self) -> None:
        """Reach a broker. Raises `Unavailable`. Until it has returned every other call does."""
        trial = Client(self.kafka, self._host, self.timeout)
        trial._caller.open()
        try:
            await trial.read(self.kafka.require, "reaching the cluster")
        finally:
            trial.close()
        self._caller.open()

    def close(self) -> None:
        """End the calls that are under way."""
        self._caller.close()

    def require_open(self) -> None:
        """Raises `Unavailable` when closed."""
        if not self.is_open:
            raise Unavailable("the connection to the simulated Kafka is closed; connect again")

    async def read(self, serve: Serve[T], doing: str) -> T:
        """Return what the cluster says; for calls that may be made again. Raises `Unavailable`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        while True:
            try:
                return await self.once(serve, deadline - loop.time())
            except (NoAnswer, Refused) as error:
                if loop.time() + LOOK_AGAIN >= deadline:
                    raise Unavailable(f"{doing}: {error}; check that the brokers run and can be reached") from error
            await asyncio.sleep(LOOK_AGAIN)

    async def once(self, serve: Serve[T], timeout: float) -> T:
        """Make one call. Raises `Unavailable` if nobody can take it, `NoAnswer`, `Refused` and what `serve` raises."""
        self.require_open()
        if not self.kafka.alive:
            raise Unavailable("no broker of the simulated Kafka answers")
        return await self._caller.ask(serve, timeout)


class SimLog:
    """The log, as the host `host_name` has it on `kafka`. No call takes much longer than `timeout` seconds."""

    def __init__(self, kafka: SimKafka, host_name: str, *, timeout: float = TIMEOUT) -> None:
        self._kafka = kafka
        self._host = host_name
        self._timeout = timeout
        self._client = Client(kafka, host_name, timeout)
        self._limits: dict[str, int] = {}
        self._offers: dict[str, Offers] = {}
        self._connections: dict[SimLogConnection, None] = {}

    async def start(self) -> None:
        """Reach a broker. Raises `Unavailable`."""
        await self._client.open()

    async def stop(self) -> None:
        """Close everything; what waits for an answer raises."""
        for connection in tuple(self._connections):
            await connection.close()
        self._client.close()

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        """Create what is missing; see `kafka.topics.ensure` for what is asked of topics that are there."""
        specs = tuple(topics)
        self._offers |= await self._client.read(partial(self._kafka.make, specs), "making topics")
        self._limits |= {spec.name: spec.max_record for spec in specs}

    def offers(self, topic: str) -> Offers:
        """By the topic's settings when it was ensured."""
        return self._offers.get(topic, {})

    async def append(self, records: Sequence[NewRecord], acks: Acks) -> Sequence[int]:
        """See the port. The records of one partition are written together or not at all."""
        self._require_topics()
        taken = tuple(records)
        for record in taken:
            limit = self._limits.get(record.topic)
            if limit is not None and (size := size_of(record)) > limit:
                raise RecordTooLarge(size, limit)
        places: dict[Place, list[int]] = {}
        for index, record in enumerate(taken):
            places.setdefault((record.topic, record.partition), []).append(index)
        for topic, partition in places:
            await self._require(topic, partition)
        deadline = asyncio.get_running_loop().time() + self._timeout
        parts = [self._write(place, [taken[one] for one in found], acks, deadline) for place, found in places.items()]
        offsets = [0] * len(taken)
        answers = [await parts[0]] if len(parts) == 1 else await asyncio.gather(*parts)
        for first, found in zip(offsets_of(answers), places.values(), strict=True):
            for place, index in enumerate(found):
                offsets[index] = first + place
        return offsets

    def _require_topics(self) -> None:
        """Raise `Unavailable` until the topics are there, as the real one does: that one is missing is not known before."""
        self._client.require_open()
        if not self._limits:
            raise Unavailable("the simulated Kafka: the topics are not made yet")

    async def _require(self, topic: str, partition: int) -> None:
        known = self._kafka.topics.get(topic)
        if known is None or not 0 <= partition < len(known.partitions):
            count = await self._client.read(partial(self._kafka.count, topic), "asking for topics")
            raise UnknownPartition(topic, partition, count)

    async def _write(self, place: Place, records: Sequence[NewRecord], acks: Acks, deadline: float) -> int | BackendError:
        """Return the first record's offset, or why there is none."""
        loop = asyncio.get_running_loop()
        where = f"{place[0]}/{place[1]}"
        while (left := deadline - loop.time()) > 0:
            try:
                first: int = await self._client.once(partial(self._kafka.append, place, records, acks), left)
            except NoAnswer as error:
                return UnknownOutcome(f"{where}: sent, and no answer came: {error}")
            except BackendError as error:
                return error
            except Refused:
                await asyncio.sleep(min(left, LOOK_AGAIN))
            else:
                return first
        return Unavailable(f"{where}: no broker took the records in time; check that its leader runs")

    async def connect(self, topic: str) -> SimLogConnection:
        """A new connection. Raises `UnknownTopic`, `Unavailable`."""
        self._require_topics()
        client = Client(self._kafka, self._host, self._timeout)
        connection = SimLogConnection(topic, self, client, self._connections.pop)
        await connection.start()
        self._connections[connection] = None
        return connection


class SimLogConnection:
    """Reading by explicit position. Made by `SimLog.connect`."""

    def __init__(self, topic: str, log: SimLog, client: Client, closed: Callable[[SimLogConnection, None], None]) -> None:
        self._topic = topic
        self._log = log
        self._client = client
        self._closed = closed
        self._turn = 0

    async def start(self) -> None:
        """Reach a broker and find the topic. Raises `Unavailable`, `UnknownTopic`; is then closed again."""
        await self._client.open()
        found = False
        try:
            await self._client.read(partial(self._client.kafka.count, self._topic), "connecting")
            found = True
        finally:
            if not found:
                self._client.close()

    async def fetch(self, wants: Mapping[int, Want], wait: float) -> Mapping[int, Sequence[Record] | OutOfRange]:
        """See the port. Raises `Unavailable` when no broker answers; a partition without a leader is waited for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            hold = max(0.0, min(deadline - loop.time(), HOLD))
            ask = partial(self._client.kafka.fetch, self._topic, self._in_turn(wants), hold)
            try:
                found = await self._client.once(ask, hold + self._client.timeout)
            except Silence as error:
                raise Unavailable(f"fetching from topic {self._topic!r}: {error}") from error
            except NoAnswer:  # the connection broke; the next try makes another
                found = Found({}, missing=True)
            left = deadline - loop.time()
            if found.answers or left <= 0:
                return found.answers
            if found.missing:
                await asyncio.sleep(min(left, LOOK_AGAIN))

    def _in_turn(self, wants: Mapping[int, Want]) -> Mapping[int, Want]:
        """The wants, another one first each time, so that a large partition starves none."""
        partitions = list(wants)
        self._turn += 1
        cut = self._turn % len(partitions) if partitions else 0
        return {partition: wants[partition] for partition in partitions[cut:] + partitions[:cut]}

    @property
    def held_up(self) -> Mapping[int, str]:
        """None ever: simulated disks damage nothing."""
        return {}

    async def extents(self) -> Mapping[int, Extent]:
        """The extent of every partition. Raises `Unavailable` if one has no leader for the length of the timeout."""
        return await self._client.read(partial(self._client.kafka.extents, self._topic), "asking for extents")

    async def append(self, records: Sequence[NewRecord], acks: Acks) -> Sequence[int]:
        """As `SimLog.append`."""
        self._client.require_open()
        return await self._log.append(records, acks)

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell the cluster. Raises `Unavailable` if no broker answers."""
        if offsets:
            told = dict(offsets)
            await self._client.read(partial(self._client.kafka.commit, self._topic, told), "committing")

    async def close(self) -> None:
        """Let go at once; a waiting fetch raises `Unavailable`."""
        self._client.close()
        self._closed(self, None)


def offsets_of(answers: Sequence[int | BackendError]) -> Sequence[int]:
    """Return the answers to an append's parts, or raise the error that is true of the whole: what is final before what is
    unsure.
    """
    failures = [answer for answer in answers if isinstance(answer, BackendError)]
    if not failures:
        return [answer for answer in answers if isinstance(answer, int)]
    final = [error for error in failures if not isinstance(error, Unavailable)]
    unsure = [error for error in failures if isinstance(error, UnknownOutcome)]
    if final or unsure or len(failures) == len(answers):
        raise (final or unsure or failures)[0]
    raise UnknownOutcome(f"a part of the records is in the log: {failures[0]}")
