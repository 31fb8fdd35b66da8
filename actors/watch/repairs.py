"""Parked records and dead jobs again, as they are or repaired, at a person's word (rows R6, R14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from forebay.backends.errors import UnknownTopic
from forebay.backends.ports import Acks, JobState, JobView, Log, NewRecord, OutOfRange, Queue, Want
from forebay.config import TopicConfig
from forebay.jobs import JobPost, Undecodable, encode
from forebay.jobs.lanes import log_place, retry_topic
from forebay.jobs.repair import Parked, again

GROUP: Final = 10
"""Records that are in memory at once."""

LOOK: Final = 2.0
"""Seconds to wait for a record that only the log has."""


@frozen
class Submitted:
    """Where a parked record lies now; the relay takes it from there."""

    topic: str
    partition: int
    offset: int


class Repairs:
    """Appends to the log first and removes the parked record, or the dead job whose end was written, then.

    Whatever comes in between leaves the job there twice, and that is one job while the first is unfinished: its id stays. A
    dead job that still holds its offset runs again from where it is.
    """

    def __init__(self, log: Log, queues: Mapping[str, Queue], topics: Sequence[TopicConfig]) -> None:
        self._log = log
        self._queues = queues
        self._acks = {topic.name: Acks(topic.acks) for topic in topics}

    async def whole(self, view: JobView) -> JobView:
        """Return the job with its bytes and headers, from the log if it was parked by its place alone and is there still."""
        if view.state is not JobState.PARKED or view.args or view.headers:
            return view
        topic, partition = log_place(view.topic, view.partition)
        try:
            connection = await self._log.connect(topic)
        except UnknownTopic:
            return view
        try:
            found = (await connection.fetch({partition: Want(view.offset, 1)}, LOOK)).get(partition, ())
        finally:
            await connection.close()
        if isinstance(found, OutOfRange) or not found or found[0].offset != view.offset:
            return view
        return evolve(view, args=found[0].value, headers=found[0].headers)

    async def resubmit(self, topic: str, ids: Sequence[str]) -> tuple[int, Mapping[str, str]]:
        """Submit parked records and dead jobs again as they are; return how many, and why the others were not, by id.

        Raises `BackendError`: those already submitted stay so.
        """
        count, refused = 0, {}
        for start in range(0, len(ids), GROUP):
            for view in await self._queues[topic].find(topic, ids[start : start + GROUP]):
                if view.state is JobState.PARKED:
                    try:
                        await self._submit(view, None, None)
                        count += 1
                    except Undecodable as error:
                        refused[view.id] = error.reason
                elif view.state is JobState.DEAD:
                    await self._revive(view)
                    count += 1
        return count, refused

    async def _revive(self, view: JobView) -> None:
        """Let a dead job run again, such that the log brings it once more if the queue forgets.

        The relay may bring the record before the dead job is removed. That then holds the record's offset, and can run from
        where it is, until its end is written once more.
        """
        queue, topic, ids = self._queues[view.topic], view.topic, [view.id]
        record = _again(view)
        while not await queue.resubmit(topic, ids):
            await self._log.append([record], self._acks[topic])
            if await queue.retire(topic, ids):
                return
            if not any(one.state is JobState.DEAD for one in await queue.find(topic, ids)):
                return  # it is under way: the queue forgot just then, or another person was quicker

    async def repair(self, view: JobView, type_: str | None, args: bytes | None) -> Submitted:
        """Submit one again with another type or other arguments. Raises `Undecodable`, `BackendError`."""
        return await self._submit(view, type_, args)

    async def _submit(self, view: JobView, type_: str | None, args: bytes | None) -> Submitted:
        whole = await self.whole(view)
        if not whole.args and not whole.headers and (type_ is None or args is None):
            raise Undecodable("there are no bytes of it, here or in the log; give both type and args")
        name, partition = log_place(view.topic, view.partition)
        parked = Parked(name, partition, view.offset, view.enqueued_at, whole.args, whole.headers)
        value, headers = again(parked, type_, args)
        record = NewRecord(view.topic, partition, value, headers=headers)
        (offset,) = await self._log.append([record], self._acks[view.topic])
        await self._queues[view.topic].discard(view.topic, [view.id])
        return Submitted(view.topic, partition, offset)


def _again(view: JobView) -> NewRecord:
    """The record that brings a job again, in the lane where it does not wait for a backlog. It has the dedup id, as others
    that are posted meanwhile would do the same work again.
    """
    post = JobPost(type=view.type, args=view.args, dedup=view.dedup)
    value, headers = encode(post, id_=view.id, enqueued_at=view.enqueued_at, headers=view.headers)
    return NewRecord(retry_topic(view.topic), log_place(view.topic, view.partition)[1], value, headers=headers)
