"""What a Redis must be like to hold a queue, and how much room it has."""

from __future__ import annotations

from collections.abc import Mapping

from forebay.backends.errors import BackendError
from forebay.backends.redis.connection import Connection


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
