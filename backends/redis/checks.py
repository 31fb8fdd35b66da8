"""What a Redis must be like to hold a queue, and how much room it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from forebay.backends.errors import BackendError, JobTooLarge, Unavailable
from forebay.backends.redis.connection import Connection

ALWAYS_TAKEN: Final = 2**20
"""Bytes of a word that every Redis takes: the least that `proto-max-bulk-len` can be."""

USUALLY_TAKEN: Final = 2**29
"""Bytes of a word that a Redis takes whose settings we may not read: the default of `proto-max-bulk-len`."""


async def read_info(connection: Connection, section: str) -> Mapping[str, str]:
    """One section of INFO by field."""
    text = (await connection.command("INFO", section)).decode()
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {field: value.strip() for field, _, value in pairs}


async def require_suitable(connection: Connection) -> None:
    """Raise `BackendError`, with what to do, for a Redis that would lose jobs or spread the keys over several servers."""
    policy = (await read_info(connection, "memory")).get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise BackendError(
            f"{connection.where} evicts keys when its memory is full (maxmemory-policy {policy}), and with them jobs; "
            "set `maxmemory-policy noeviction` there"
        )
    if (await read_info(connection, "cluster")).get("cluster_enabled", "0") == "1":
        raise BackendError(
            f"{connection.where} is a Redis Cluster, which this version cannot use; "
            "name single servers, and several of them under `queues` to share the load"
        )


async def free_memory(connection: Connection) -> tuple[int, int]:
    """Bytes free below `maxmemory`, and `maxmemory` itself: 0 where there is no limit."""
    info = await read_info(connection, "memory")
    limit = int(info.get("maxmemory", "0"))
    return max(0, limit - int(info.get("used_memory", "0"))), limit


async def require_takes(connection: Connection, size: int) -> None:
    """Raise `JobTooLarge` for a word of `size` bytes that this Redis never takes, to be asked before it is sent.

    Redis cuts the connection of whoever sends a longer word than `proto-max-bulk-len`, mostly before its error can be read,
    which looks like an outage; and what has over half of `maxmemory` never finds room, since it is there twice while it is
    being written, which looks like a full Redis. Waiting helps against neither.
    """
    if size <= ALWAYS_TAKEN:
        return
    longest = await _longest_word(connection)
    if size > longest:
        raise JobTooLarge(size, longest, f"raise proto-max-bulk-len at {connection.where}, or keep large data elsewhere")
    _, memory = await free_memory(connection)
    if 0 < memory < 2 * size:
        raise JobTooLarge(size, memory // 2, f"raise maxmemory at {connection.where}, or keep large data elsewhere")


async def _longest_word(connection: Connection) -> int:
    try:
        found = await connection.command("CONFIG", "GET", "proto-max-bulk-len")
    except Unavailable:
        raise
    except BackendError:  # CONFIG is not for every user, and some hosted services have none
        return USUALLY_TAKEN
    return int(found[1]) if found else USUALLY_TAKEN
