"""Sites of the Consul adapter: one real agent for the whole run, on real time, cleared after each test."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from typing import Any

from support.live import eventually

from forebay.backends.clock import SystemClock
from forebay.backends.consul import ConsulCoordination
from forebay.scenarios.servers import ConsulServer
from forebay.scenarios.servers.ports import HOST

ALL_KEYS = "/v1/kv/?recurse=1"


def ask(server: ConsulServer, method: str, path: str) -> tuple[int, bytes]:
    """What the agent itself says, past the adapter: status and body."""
    connection = HTTPConnection(HOST, server.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def sessions(server: ConsulServer) -> list[dict[str, Any]]:
    """The sessions that live."""
    return json.loads(ask(server, "GET", "/v1/session/list")[1])


def clear(server: ConsulServer) -> None:
    """Remove every key, then every session; in this order no lock delay begins."""
    ask(server, "DELETE", ALL_KEYS)
    for session in sessions(server):
        ask(server, "PUT", f"/v1/session/destroy/{session['ID']}")


class TimedConsul(ConsulCoordination):
    """The adapter as it is; notes when each session must have lapsed at the latest."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.ttls: dict[str, float] = {}
        self.lapses: dict[str, float] = {}

    async def create_session(self, name: str, ttl: float, lock_delay: float) -> str:
        session = await super().create_session(name, ttl, lock_delay)
        self.ttls[session] = ttl
        self.lapses[session] = time.monotonic() + 2 * ttl
        return session

    async def renew_session(self, session: str) -> None:
        await super().renew_session(session)
        self.lapses[session] = time.monotonic() + 2 * self.ttls[session]


class ConsulSite:
    """The agent, and the adapter on it."""

    ttl = 1.0  # the shortest that the agent admits

    def __init__(self, server: ConsulServer) -> None:
        self.server = server
        self.clock = SystemClock()

    async def start(self) -> ConsulCoordination:
        self.port = TimedConsul(self.server.url)
        await self.port.start()
        return self.port

    async def reopen(self) -> ConsulCoordination:
        await self.port.stop()
        return await self.start()

    async def advance(self, seconds: float) -> None:
        """Let time pass, and the agent end what is due by then: it may be a little behind."""
        await asyncio.sleep(seconds)
        due = {session for session, lapse in self.port.lapses.items() if lapse <= time.monotonic()}

        async def ended() -> bool:
            return not due.intersection(session["ID"] for session in sessions(self.server))

        await eventually(ended)

    async def free(self, key: str) -> None:
        """Wait until no lock delay is left on a key."""
        await self.reopen()
        session = await self.port.create_session("free", 10, 0)

        async def taken() -> bool:
            return await self.port.acquire(key, session, b"")

        await eventually(taken)


@asynccontextmanager
async def consul_site(server: ConsulServer) -> AsyncIterator[Any]:
    site = ConsulSite(server)
    try:
        await site.start()
        yield site
        clear(server)
        await site.free("lock")
    finally:
        await site.port.stop()
        clear(server)


consul_site.needs = "consul_server"

CONSUL_COORDINATIONS = {"consul": consul_site}
