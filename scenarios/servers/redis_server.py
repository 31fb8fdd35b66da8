"""Redis: two primaries, the first of which has a replica."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from forebay.scenarios.servers.ports import HOST
from forebay.scenarios.servers.program import Program
from forebay.scenarios.servers.server import Server
from forebay.scenarios.servers.state import State


class RedisServer(Server):
    """One Redis, `noeviction`, with an append-only file: what it answered survives a kill of the process.

    It leaves the syncing to the kernel: only a loss of power would tell, and a slow disk makes Redis answer nobody.
    """

    def __init__(
        self, name: str, program: Program, state: State, *, detached: bool, primary: RedisServer | None = None
    ) -> None:
        super().__init__(name, program, state, detached=detached)
        self.primary = primary
        self.max_memory = 0

    @property
    def url(self) -> str:
        """As a queue's `url` takes it."""
        return f"redis://{self.address}"

    def client(self) -> Redis:
        """Return a new client of it, which gives up after 2 seconds and tries nothing twice. To be closed by the caller."""
        once = Retry(NoBackoff(), 0)
        return Redis(host=HOST, port=self.port, socket_timeout=2, socket_connect_timeout=2, retry=once)

    def command(self) -> list[str]:
        """Everything by argument: no file, and nothing written but data."""
        options = {
            "port": self.port,
            "bind": HOST,
            "dir": self.folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "no",
            "maxmemory": self.max_memory,
            "maxmemory-policy": "noeviction",
            "repl-diskless-sync-delay": 0,
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        if self.primary is not None:
            words += ["--replicaof", HOST, str(self.primary.port)]
        return [*self.program.command, *words]

    async def prepare(self) -> None:
        """Nothing: it needs only the folder."""

    async def answers(self) -> bool:
        """Whether it answers a PING; a replica only once it follows its primary."""
        try:
            async with self.client() as client:
                await client.ping()
                if self.primary is None or self.primary.process is None:
                    return True
                return (await client.info("replication")).get("master_link_status") == "up"
        except (RedisError, OSError):
            return False

    async def limit_memory(self, size: int) -> None:
        """Set `maxmemory` in bytes, 0 for none, now and for later starts. Raises redis' errors if it is down."""
        self.max_memory = size
        if self.process is not None:
            async with self.client() as client:
                await client.config_set("maxmemory", size)

    async def promote(self) -> None:
        """Make a primary of a replica, as a failover does. What had not reached it is lost to it."""
        self.primary = None
        async with self.client() as client:
            await client.replicaof("NO", "ONE")

    async def follow(self, primary: RedisServer) -> None:
        """Make it a replica: it drops what it has and copies the primary. Returns when it follows."""
        self.primary = primary
        async with self.client() as client:
            await client.replicaof(HOST, str(primary.port))
        await self.ready()


@frozen
class RedisServers:
    """`main` with its `replica`, and `other`, which knows nothing of them."""

    main: RedisServer
    replica: RedisServer
    other: RedisServer

    def __iter__(self) -> Iterator[RedisServer]:
        yield from (self.main, self.replica, self.other)


def redis_servers(program: Program, state: State, *, detached: bool) -> RedisServers:
    """Return the three servers; none is started."""
    main = RedisServer("redis-main", program, state, detached=detached)
    replica = RedisServer("redis-replica", program, state, detached=detached, primary=main)
    return RedisServers(main, replica, RedisServer("redis-other", program, state, detached=detached))
