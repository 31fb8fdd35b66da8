"""Appending: slices wait in the lane of their partition's leader, and each request takes what a lane holds.

A lane has one request under way, so that appends which come meanwhile share the next one, and a partition's order is
kept. A slice is sent again only when the broker refused it; `UnknownOutcome` is raised just where nobody can tell. One
refusal does not mean that nothing was written: a leader that is replaced while it waits for the others (acks=all) may have
handed its copy on. Such a record is in the log twice, and so the queue is given that job twice, under one id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import errors
from aiokafka.protocol.produce import ProduceRequest

from forebay.backends.errors import BackendError, RecordTooLarge, Unavailable, UnknownOutcome
from forebay.backends.kafka.batch import BATCH, Slice, encode
from forebay.backends.kafka.cluster import DIRECT, PATIENT, Cluster
from forebay.backends.kafka.faults import ELSEWHERE
from forebay.backends.ports import Acks, Clock

REQUEST: Final = 4 * BATCH
"""Bytes after which a request takes no more slices."""

BACKOFF: Final = 0.1
"""Seconds before a partition's leader is looked for again."""

_WIRE: Final = {Acks.LEADER: 1, Acks.ALL: -1}
_SOCKET: Final = {Acks.LEADER: DIRECT, Acks.ALL: PATIENT}  # a wait for replicas holds up nobody else
_REFUSED: Final = (*ELSEWHERE, errors.NotEnoughReplicasError)  # nothing was written, and it may work later

Lane = tuple[int, Acks]
Batches = Mapping[tuple[str, int], Sequence[Slice]]


class Sender:
    """Sends slices to the leaders of their partitions until each has its answer or its deadline has passed."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._lanes: dict[Lane, deque[Slice]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, part: Slice) -> None:
        """Take a slice; its `answer` will be set in any case, with `Unavailable`, `UnknownOutcome` or another error."""
        node = self._cluster.leader(part.topic, part.partition)
        if node is None:
            self._retry([part])
            return
        lane = (node, part.acks)
        if lane in self._lanes:
            self._lanes[lane].append(part)
        else:
            self._lanes[lane] = deque([part])
            self._run(self._serve(lane))

    async def close(self) -> None:
        """End the requests under way; what has no answer ends as `UnknownOutcome`, what was not sent as `Unavailable`."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, lane: Lane) -> None:
        waiting = self._lanes[lane]
        batches: Batches = {}
        try:
            await asyncio.sleep(0)  # those who append in this turn of the loop share the first request
            while waiting:
                if batches := _next_request(waiting):
                    await self._send(lane, batches)
                    batches = {}
        finally:
            del self._lanes[lane]
            _give_up([part for parts in batches.values() for part in parts], asked=True)
            _give_up(waiting)

    async def _send(self, lane: Lane, batches: Batches) -> None:
        node, acks = lane
        now = self._clock.wall()
        topics: dict[str, list[tuple[int, bytes]]] = {}
        for (topic, partition), parts in batches.items():
            topics.setdefault(topic, []).append((partition, encode(parts, now)))
        request = ProduceRequest(None, _WIRE[acks], int(self._cluster.timeout * 1000), list(topics.items()))
        try:
            response = await self._cluster.send(node, request, _SOCKET[acks])
        except errors.NodeNotReadyError:  # no connection to it: nothing was sent
            self._retry([part for parts in batches.values() for part in parts])
        except (errors.KafkaError, OSError, Unavailable) as error:
            for parts in batches.values():
                _end(parts, error)
        else:
            self._answered(batches, response)

    def _answered(self, batches: Batches, response: Any) -> None:
        refused: list[Slice] = []
        for topic, partitions in response.topics:
            for partition, code, offset, *_ in partitions:
                parts = batches[topic, partition]
                kind = errors.for_code(code)
                if kind is errors.NoError:
                    _written(parts, offset)
                elif issubclass(kind, _REFUSED):
                    refused += parts
                else:
                    _end(parts, kind())
        if refused:
            self._retry(refused)

    def _retry(self, parts: Sequence[Slice]) -> None:
        for part in parts:
            part.asked = False
        self._run(self._look_again(parts))

    async def _look_again(self, parts: Sequence[Slice]) -> None:
        """Wait a little, ask who leads now, and put the slices there; those past their deadline are `Unavailable`."""
        try:
            await asyncio.sleep(BACKOFF)
            now = asyncio.get_running_loop().time()
            live = [part for part in parts if not part.answer.done() and part.deadline > now]
            if live:
                await self._cluster.refresh()
            for part in live:
                self.put(part)
            parts = [part for part in parts if part not in live]
        except Unavailable:
            pass  # no broker answers: all of them are given up
        finally:
            _give_up(parts)


def _next_request(waiting: deque[Slice]) -> Batches:
    """Take slices until the request or a partition's batch is full. Those that nobody waits for any more are dropped."""
    batches: dict[tuple[str, int], list[Slice]] = {}
    sizes: dict[tuple[str, int], int] = {}
    while waiting and sum(sizes.values()) < REQUEST:
        part = waiting[0]
        size = sizes.get(part.place, 0)
        if size and size + part.size > BATCH:
            break
        waiting.popleft()
        if not part.answer.done():
            part.asked = True
            batches.setdefault(part.place, []).append(part)
            sizes[part.place] = size + part.size
    return batches


def _written(parts: Sequence[Slice], offset: int) -> None:
    for part in parts:
        if not part.answer.done():
            part.answer.set_result(offset)
        offset += len(part.records)


def _end(parts: Sequence[Slice], error: Exception) -> None:
    """End slices whose request failed with `error`."""
    for part in parts:
        if isinstance(error, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError):
            part.fail(RecordTooLarge(part.size, BATCH))
        elif isinstance(error, errors.BrokerResponseError) and not (error.retriable or type(error) is errors.UnknownError):
            part.fail(BackendError(f"Kafka refuses records for {part.topic}/{part.partition}: {error!r}"))
        else:
            part.fail(UnknownOutcome(f"{part.topic}/{part.partition}: sent, and no answer came: {error!r}"))


def _give_up(parts: Sequence[Slice] | deque[Slice], *, asked: bool = False) -> None:
    for part in parts:
        where = f"{part.topic}/{part.partition}"
        if asked:
            part.fail(UnknownOutcome(f"{where}: sent, and the answer was not waited for"))
        else:
            part.fail(Unavailable(f"{where}: no broker took the records in time; check that its leader runs"))
