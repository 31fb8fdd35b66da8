"""A queue's place: where members find its Redis, which server that is now, and what a watcher sees there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import anyio
from redis.exceptions import RedisError

from forebay.actors.relay.headroom import STOP
from forebay.backends.ports import Counts
from forebay.backends.redis.codec import prefix
from forebay.backends.redis.scripts import COUNTS, SCRIPTS
from forebay.scenarios.real.monitor import Monitor
from forebay.scenarios.real.monitor_lines import MonitorLines, Taken
from forebay.scenarios.servers import Proxy, RedisServer, ServerFailed

NOWHERE: Final = 9
"""A port that nobody listens on: where members are led while no Redis is there, or nobody watches it yet."""
BACKLOG: Final = 16 * 1024
"""Bytes of the newest writes that are kept for a replica, the least that Redis takes: the usual megabyte counts as used."""
SEEN: Final = 10.0
LOOK: Final = 0.01


class RedisPlace:
    """Members reach `server` by `ways`, their proxies. `replica` follows it, if there is one.

    A server that has just started is let be found once it is watched, so that no write goes unseen.
    """

    def __init__(
        self, server: RedisServer, replica: RedisServer | None, take: Callable[[Taken], None], lose: Callable[[], None]
    ) -> None:
        """`take` gets each range that relays write; `lose` is called when data are lost, before members find the rest."""
        self.server = server
        self.replica = replica
        self.ways: Sequence[Proxy] = ()
        self._lose = lose
        servers = [one for one in (server, replica) if one is not None]
        self._lines = {one.name: MonitorLines(take) for one in servers}
        self._monitors = {one.name: Monitor(one, self._lines[one.name]) for one in servers}

    async def open(self) -> None:
        """Begin to watch."""
        for monitor in self._monitors.values():
            monitor.start()
        await self._watched()

    async def close(self) -> None:
        """Watch no more."""
        for monitor in self._monitors.values():
            await monitor.stop()

    # --- what can be done

    async def kill(self) -> bool:
        """End it; False where it was down."""
        ran = self.server.process is not None
        self._lead(NOWHERE)
        await self.server.kill()
        return ran

    async def start(self) -> None:
        """Start it unless it runs, and let members find it."""
        await self.server.start()
        await self._watched()
        self._lead(self.server.port)

    async def wipe(self) -> bool:
        """Put an empty one in its place; whether the old one held anything. Unknown of one that was down: then, yes."""
        held = await self.holds()
        self._lead(NOWHERE)
        await self.server.wipe()
        if held:
            self._lose()
        await self.start()
        return held

    async def flush(self) -> bool:
        """Remove all data; False where there were none, or it is down."""
        if self.server.process is None or not await self.holds():
            return False
        self._lose()
        async with self.server.client() as client:
            await client.flushall()
        return True

    async def fail_over(self, lost: int) -> bool:
        """Let the replica take over, without the newest `lost` calls that changed something, at least, or so many as there
        are within `SEEN` seconds; False where it cannot.

        The one that was there then follows the new one.
        """
        old, new = self.server, self.replica
        if new is None or old.process is None or not await new.answers():
            return False
        await new.promote()
        await self._changed(old, lost)
        await self.kill()
        self._lose()
        self.server, self.replica = new, old
        await self.start()
        await old.wipe()
        old.primary = new
        await old.start()
        return True

    async def limit(self, memory: int) -> bool:
        """Let relays stop when the data take as large a part of `memory` as a relay lets them; False if it is down.

        A server needs two megabytes and more for itself and its clients, and what is free of the limit is counted by its
        share of the whole: so what it needs now must fit into the part that a relay uses, beside the data's. The scripts,
        which members load when they first need them, belong to that; what is kept for a replica is made small.
        """
        if self.server.process is None:
            return False
        async with self.server.client() as client:
            await client.config_set("repl-backlog-size", BACKLOG)
            for script in SCRIPTS:
                await client.script_load(script.text)
            data = [await client.memory_usage(key, samples=0) or 0 async for key in client.scan_iter()]
            own = int((await client.info("memory"))["used_memory"]) - sum(data)
        await self.server.limit_memory(memory + int(own / (1 - STOP)))
        return True

    async def unlimit(self) -> None:
        """No limit, now and for later starts."""
        await self.server.limit_memory(0)

    # --- what can be seen

    @property
    def refused(self) -> Counter[str]:
        """Calls that were refused, by reason: stale, missing, mismatch."""
        return sum((lines.refused for lines in self._lines.values()), Counter())

    async def holds(self) -> bool:
        """Whether it has data, or may have: it is down."""
        try:
            async with self.server.client() as client:
                return bool(await client.dbsize())
        except (RedisError, OSError):
            return True

    async def counts(self, topic: str) -> Counts:
        """Jobs of a topic by state. Raises redis' errors, `OSError`."""
        async with self.server.client() as client:
            return Counts(*await client.eval(COUNTS.text, 1, prefix(topic), ""))

    async def marks(self, topic: str) -> dict[int, int]:
        """The next offset to be written, by the queue's number of a partition. Raises redis' errors, `OSError`."""
        async with self.server.client() as client:
            found = await client.hgetall(f"{prefix(topic)}marks")
        return {int(partition): int(mark) for partition, mark in found.items()}

    async def used(self) -> float | None:
        """The share of its memory limit that is in use; None without one, or while it is down."""
        try:
            async with self.server.client() as client:
                memory = await client.info("memory")
        except (RedisError, OSError):
            return None
        return memory["used_memory"] / memory["maxmemory"] if memory["maxmemory"] else None

    # --- inside

    def _lead(self, port: int) -> None:
        for way in self.ways:
            way.target = port

    async def _watched(self) -> None:
        with anyio.move_on_after(SEEN):
            await self._monitors[self.server.name].watching.wait()
            return
        raise ServerFailed(f"{self.server.name} cannot be watched (MONITOR) for {SEEN:.0f} s; {self.server.last_words()}")

    async def _changed(self, server: RedisServer, more: int) -> None:
        lines = self._lines[server.name]
        wanted = lines.changed + more
        with anyio.move_on_after(SEEN):
            while lines.changed < wanted:  # noqa: ASYNC110 - the monitor has no event for that
                await anyio.sleep(LOOK)
