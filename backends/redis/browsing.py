"""Looking at jobs without holding Redis up: a state's set is read in pieces, and only the ids of the answer are kept."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Sequence
from typing import Final

from forebay.backends.ports import JobState, JobView
from forebay.backends.redis.codec import prefix, unpack_body, unpack_parked
from forebay.backends.redis.connection import Connection
from forebay.backends.redis.record import read_record

PIECE: Final = 1000
_NUMBER: Final = 6  # bytes before the id in a member
_SETS: Final = {
    JobState.PENDING: ("pending",),
    JobState.DELAYED: ("delayed", "following"),
    JobState.RETRYING: ("retrying",),
}


async def browse(connection: Connection, topic: str, state: JobState, limit: int, after: str) -> Sequence[JobView]:
    """Jobs in one state, by id. A job that leaves the state meanwhile is left out.

    Dead and parked ones are kept by id; for the other states the cost grows with how many there are, in calls of a thousand.
    """
    if limit < 1:
        return ()
    if state is JobState.PARKED:
        return await _parked(connection, topic, limit, after)
    if state is JobState.DEAD:
        ids = await _by_id(connection, f"{prefix(topic)}dead", limit, after)
    else:
        ids = await _smallest(connection, topic, state, limit, after.encode())
    return await _views(connection, topic, state, ids) if ids else ()


async def _by_id(connection: Connection, key: str, limit: int, after: str) -> Sequence[bytes]:
    low = f"({after}" if after else "-"
    ids: Sequence[bytes] = await connection.command("ZRANGEBYLEX", key, low, "+", "LIMIT", 0, limit)
    return ids


async def _smallest(connection: Connection, topic: str, state: JobState, limit: int, after: bytes) -> Sequence[bytes]:
    kept: list[bytes] = []
    for key in await _keys(connection, topic, state):
        async for members in _scan(connection, key):
            ids = {member[_NUMBER:] for member in members}
            kept = heapq.nsmallest(limit, ids.union(kept).difference(id_ for id_ in ids if id_ <= after))
    return kept


async def _keys(connection: Connection, topic: str, state: JobState) -> Sequence[str]:
    if state is JobState.IN_FLIGHT:
        workers = await connection.command("ZRANGE", f"{prefix(topic)}workers", 0, -1)
        return [f"{prefix(topic)}held:{worker.decode()}" for worker in workers]
    return [f"{prefix(topic)}{name}" for name in _SETS[state]]


async def _scan(connection: Connection, key: str) -> AsyncIterator[Sequence[bytes]]:
    cursor = b"0"
    while True:
        cursor, found = await connection.command("ZSCAN", key, cursor, "COUNT", PIECE)
        yield found[::2]
        if int(cursor) == 0:
            return


async def find(connection: Connection, topic: str, ids: Sequence[str]) -> Sequence[JobView]:
    """Jobs and parked records by id. One that changes its state meanwhile is shown as it was or as it is."""
    if not ids:
        return ()
    names = [id_.encode() for id_ in ids]
    jobs = {view.id: view for view in await _jobs(connection, topic, names)}
    parked = {view.id: view for view in await _parked_views(connection, topic, names)}
    return tuple(view for id_ in ids if (view := jobs.get(id_) or parked.get(id_)) is not None)


async def _views(connection: Connection, topic: str, state: JobState, ids: Sequence[bytes]) -> Sequence[JobView]:
    return tuple(view for view in await _jobs(connection, topic, ids) if view.state is state)


async def _jobs(connection: Connection, topic: str, ids: Sequence[bytes]) -> Sequence[JobView]:
    records = await connection.command("HMGET", f"{prefix(topic)}states", *ids)
    bodies = await connection.command("HMGET", f"{prefix(topic)}bodies", *ids)
    rows = zip(ids, records, bodies, strict=True)
    return tuple(_view(topic, id_, record, body) for id_, record, body in rows if record is not None and body is not None)


def _view(topic: str, id_: bytes, text: bytes, packed: bytes) -> JobView:
    record, body = read_record(text), unpack_body(packed)
    return JobView(
        topic=topic,
        id=id_.decode(),
        type=body.type,
        state=record.state,
        attempt=record.attempt,
        args=body.args,
        error=record.error or None,
        enqueued_at=body.enqueued_at,
        due=record.due,
        partition=record.partition,
        offset=record.offset,
        headers=body.headers,
        dedup=record.dedup,
    )


async def _parked(connection: Connection, topic: str, limit: int, after: str) -> Sequence[JobView]:
    ids = await _by_id(connection, f"{prefix(topic)}parked_ids", limit, after)
    return await _parked_views(connection, topic, ids) if ids else ()


async def _parked_views(connection: Connection, topic: str, ids: Sequence[bytes]) -> Sequence[JobView]:
    bodies = await connection.command("HMGET", f"{prefix(topic)}parked", *ids)
    return tuple(_parked_view(topic, id_, body) for id_, body in zip(ids, bodies, strict=True) if body is not None)


def _parked_view(topic: str, id_: bytes, kept: bytes) -> JobView:
    parked_at, _, packed = kept.partition(b" ")
    body = unpack_parked(packed)
    return JobView(
        topic=topic,
        id=id_.decode(),
        type="",
        state=JobState.PARKED,
        attempt=0,
        args=body.value,
        error=body.error,
        enqueued_at=int(parked_at),
        partition=body.partition,
        offset=body.offset,
        headers=body.headers,
    )
