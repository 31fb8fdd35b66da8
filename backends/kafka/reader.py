"""Fetching: one request to each leader, from explicit positions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import errors
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.protocol.fetch import FetchRequest
from attrs import frozen

from forebay.backends.errors import Unavailable
from forebay.backends.kafka.batch import size_of
from forebay.backends.kafka.cluster import DIRECT, PATIENT, Cluster
from forebay.backends.kafka.faults import ELSEWHERE, OF_THE_TOPIC, translate
from forebay.backends.kafka.offsets import extents_of
from forebay.backends.kafka.polls import Polls, Positions
from forebay.backends.kafka.unpack import Answer
from forebay.backends.ports import OutOfRange, Record, Want

ANSWER: Final = 8 << 20
"""Bytes that a fetch returns at most, unless its first record alone is longer."""

LEADERLESS: Final = 0.1
"""Seconds until partitions without a leader are asked for again."""

HELD_UP: Final = 1.0
"""Seconds until a partition that its leader could not give is asked for again: an answer to it ends every wait for news."""

UNREAD_AGE: Final = 1.0
"""Seconds for which what a fetch brought beyond what was wanted is kept for the next one: a log that was cut may differ."""

Found = dict[int, Sequence[Record] | OutOfRange]


@frozen
class HeldUp:
    """Why a partition cannot be read, and until when it is left alone."""

    why: str
    until: float


class Unread:
    """What one fetch brought of one partition, as far as it has not been read.

    Brokers send whole batches, often more records than are wanted at a time. Asking again for the rest would have it sent,
    checked and unpacked again and again.
    """

    def __init__(self, answer: Answer, until: float) -> None:
        self._answer = answer
        self._until = until
        self.records = iter(answer)

    @property
    def next(self) -> int:
        """The first offset that was not passed yet."""
        return self._answer.next

    def serves(self, want: Want, now: float) -> bool:
        """Whether a read may go on here."""
        return want.offset == self.next and now < self._until


class Reader:
    """Reads one topic. `take` asks for what is there, `news` waits until there may be more."""

    def __init__(self, topic: str, cluster: Cluster) -> None:
        self._topic = topic
        self._cluster = cluster
        self._turn = 0
        self._skips: dict[int, tuple[int, int]] = {}  # partition -> from where there are no records, up to where
        self._unread: dict[int, Unread] = {}  # bounded by ANSWER, with what was read of it
        self._held_up: dict[int, HeldUp] = {}
        self._polls = Polls(self._hold)

    @property
    def held_up(self) -> Mapping[int, str]:
        """The partitions that their leaders could not give when last asked, and why; others are read meanwhile."""
        return {partition: held.why for partition, held in self._held_up.items()}

    async def take(self, wants: Mapping[int, Want]) -> tuple[Found, bool]:
        """Return what is there, and whether a partition could not be asked. The partition served first goes round."""
        self._turn += 1
        order = list(wants)
        cut = self._turn % len(order) if order else 0
        order = order[cut:] + order[:cut]
        unread = self._kept(wants)
        left_alone = self._left_alone()
        answers, missing = await self._ask(wants, [one for one in order if one not in unread and one not in left_alone])
        until = asyncio.get_running_loop().time() + UNREAD_AGE
        for partition, answer in answers.items():
            if answer is not None:
                begin = self._position(partition, wants[partition].offset)
                unread[partition] = Unread(Answer(self._topic, partition, *answer, begin), until)
        found: Found = {}
        room = ANSWER
        for partition in order:
            if partition in unread and room > 0:
                records, size = self._read(partition, wants[partition], unread[partition], room, first=not found)
                room -= size
                if records:
                    found[partition] = records
        beyond = [partition for partition, answer in answers.items() if answer is None]
        found.update(await self._out_of_range(wants, beyond))
        return found, missing

    def _kept(self, wants: Mapping[int, Want]) -> dict[int, Unread]:
        """Return what is there already of what is wanted; what no longer serves is let go."""
        now = asyncio.get_running_loop().time()
        kept = {partition: self._unread.pop(partition) for partition in wants if partition in self._unread}
        return {partition: unread for partition, unread in kept.items() if unread.serves(wants[partition], now)}

    def _left_alone(self) -> dict[int, float]:
        """Return the partitions that are not to be asked for yet, and for how many seconds."""
        now = asyncio.get_running_loop().time()
        return {partition: held.until - now for partition, held in self._held_up.items() if held.until > now}

    async def news(self, wants: Mapping[int, Want], wait: float) -> None:
        """Return when a wanted partition may have more, at the latest after `wait` seconds."""
        left_alone = self._left_alone()
        wait = min([wait, *(left_alone[partition] for partition in wants if partition in left_alone)])
        asked = {partition: want for partition, want in wants.items() if partition not in left_alone}
        positions = {partition: self._position(partition, want.offset) for partition, want in asked.items()}
        groups = self._cluster.by_leader(self._topic, asked)
        leaders = {node: {one: positions[one] for one in group} for node, group in groups.items() if node is not None}
        if leaders:
            await self._polls.news(leaders, wait)
        else:  # they lost them since they were last asked, or could not give what they lead
            await asyncio.sleep(min(wait, LEADERLESS))

    async def _hold(self, node: int, positions: Positions, hold: float) -> bool:
        """Ask one leader for news; return whether there may be some, or it is not to be asked for all of them now."""
        wanted = [(partition, offset, 1) for partition, offset in positions.items()]
        request = FetchRequest(max(1, int(hold * 1000)), 1, 1, READ_COMMITTED, [(self._topic, wanted)])
        answers: dict[int, tuple[Any, Any] | None] = {}
        response = await self._send(node, request, PATIENT)
        moved = response is None or self._sort(response, answers)
        held_up = not self._left_alone().keys().isdisjoint(positions)  # the next request would be answered at once too
        return moved or held_up or any(answer is None or answer[0] for answer in answers.values())

    async def close(self) -> None:
        """End what waits for news."""
        await self._polls.close()

    async def _ask(
        self, wants: Mapping[int, Want], partitions: Sequence[int]
    ) -> tuple[dict[int, tuple[Any, Any] | None], bool]:
        """Ask the leaders; return message set and aborted transactions by partition, None where out of range."""
        groups = self._cluster.by_leader(self._topic, partitions)
        share = ANSWER // max(1, len(groups))
        each = ANSWER // max(1, len(partitions))
        requests = []
        for node, members in groups.items():
            if node is not None:
                positions = [(partition, self._position(partition, wants[partition].offset), each) for partition in members]
                request = FetchRequest(0, 1, share, READ_COMMITTED, [(self._topic, positions)])
                requests.append(self._send(node, request, DIRECT))
        responses = await asyncio.gather(*requests)
        answers: dict[int, tuple[Any, Any] | None] = {}
        missing = None in groups or None in responses
        for response in responses:
            missing |= response is not None and self._sort(response, answers)
        return answers, missing

    async def _send(self, node: int, request: FetchRequest, group: Any) -> Any | None:
        try:
            return await self._cluster.send(node, request, group)
        except (errors.KafkaError, Unavailable) as error:
            if isinstance(error, errors.KafkaError) and not isinstance(translate(error, ""), Unavailable):
                raise translate(error, f"fetching from topic {self._topic!r}") from error
            self._cluster.client  # noqa: B018 - raises when closed
            return None

    def _sort(self, response: Any, answers: dict[int, tuple[Any, Any] | None]) -> bool:
        """Put a response's partitions into `answers`; return whether one has to be asked for elsewhere."""
        missing = False
        for _, partitions in response.topics:
            for partition, code, _, *rest in partitions:
                kind = errors.for_code(code)
                if kind is errors.NoError:
                    self._held_up.pop(partition, None)
                    aborted = rest[2 if response.API_VERSION >= 11 else -2]
                    answers[partition] = (rest[-1], aborted)
                elif kind is errors.OffsetOutOfRangeError:
                    self._held_up.pop(partition, None)
                    answers[partition] = None
                elif issubclass(kind, ELSEWHERE) or kind.retriable:
                    missing = True
                elif issubclass(kind, OF_THE_TOPIC):
                    raise translate(kind(), f"fetching from {self._topic}/{partition}")
                else:
                    self._hold_up(partition, code, kind)
        return missing

    def _hold_up(self, partition: int, code: int, kind: type[errors.BrokerResponseError]) -> None:
        """Leave alone for a while what its leader cannot give: a damaged segment, or what the library has no name for."""
        why = f"fetching from {self._topic}/{partition}: its leader answers with error {code}, {kind.__name__}"
        until = asyncio.get_running_loop().time() + HELD_UP
        self._held_up[partition] = HeldUp(f"{why}; see that broker's log and its disks", until)

    def _position(self, partition: int, offset: int) -> int:
        start, end = self._skips.get(partition, (-1, -1))
        return end if offset == start else offset

    def _read(self, partition: int, want: Want, unread: Unread, room: int, *, first: bool) -> tuple[Sequence[Record], int]:
        """Decode at most what is wanted and has room; the `first` partition's first record has room always."""
        records: list[Record] = []
        size = 0
        for record in unread.records:
            more = size_of(record)
            if size + more > room and (records or not first):
                break
            size += more
            records.append(record)
            if len(records) == want.max_records:
                self._unread[partition] = unread
                break
        else:
            if not records and unread.next > want.offset:  # only marks of transactions, or what compaction left
                self._skips[partition] = (want.offset, unread.next)
        return records, size

    async def _out_of_range(self, wants: Mapping[int, Want], partitions: Iterable[int]) -> Found:
        found: Found = {}
        beyond = tuple(partitions)
        if beyond:
            for partition, extent in (await extents_of(self._cluster, self._topic, beyond)).items():
                if not extent.start <= wants[partition].offset <= extent.end:
                    found[partition] = OutOfRange(extent)
        return found
