"""The `Coordination` port on a simulated Consul: a host's client, which fails as the real adapter does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, TypeVar

from forebay.backends.errors import BackendError, Unavailable, UnknownOutcome
from forebay.backends.ports import Entry
from forebay.scenarios.simulation.consul import Seen, SimConsul
from forebay.scenarios.simulation.network import Caller, NoAnswer, Serve

T = TypeVar("T")

TIMEOUT: Final = 10.0
"""Seconds within which a call ends; a watch, so many after its wait."""
BLOCK: Final = 30.0
"""Seconds that one blocking query waits at most; a watch makes as many as it needs."""
MIN_RENEWAL: Final = 1.0
"""Seconds that a renewal may take in any case."""
MAX_LOCK_DELAY: Final = 60.0


class SimCoordination:
    """Coordination, as the host `host_name` has it on `consul`. Each call ends within `timeout` seconds."""

    def __init__(self, consul: SimConsul, host_name: str, *, timeout: float = TIMEOUT) -> None:
        self._consul = consul
        self._host = host_name
        self._timeout = timeout
        self._caller = Caller(consul.network, host_name)
        self._renewals: dict[str, float] = {}

    async def start(self) -> None:
        """Reach it once. Raises `Unavailable`. Until it has returned every other call does."""
        trial = SimCoordination(self._consul, self._host, timeout=self._timeout)
        trial._caller.open()
        try:
            await trial._read(self._consul.require)
        finally:
            trial._caller.close()
        self._caller.open()

    async def stop(self) -> None:
        """End what is under way, with `Unavailable`."""
        self._caller.close()

    # sessions

    async def create_session(self, name: str, ttl: float, lock_delay: float) -> str:
        """See the port. Raises `BackendError` for a `ttl` that is not admitted, and for a `lock_delay` over 60 s."""
        if lock_delay > MAX_LOCK_DELAY:
            raise BackendError(f"Consul keeps no lock delay of {lock_delay:g} s; set lock.lock_delay to 60s or less")
        session = await self._write(partial(self._consul.create, self._host, name, ttl, lock_delay))
        self._renewals[session] = min(self._timeout, max(MIN_RENEWAL, ttl / 4))
        return session

    async def renew_session(self, session: str) -> None:
        """Raises `SessionGone`. Ends within a quarter of the session's TTL, but a second at least."""
        await self._write(partial(self._consul.renew, session), self._renewals.get(session))

    async def destroy_session(self, session: str) -> None:
        """End it and release what it holds. Absent is fine."""
        self._renewals.pop(session, None)
        await self._write(partial(self._consul.destroy, session))

    # locks and values

    async def acquire(self, key: str, session: str, value: bytes) -> bool:
        """Take the lock, or take it again. Raises `SessionGone`."""
        return await self._write(partial(self._consul.acquire, key, session, value))

    async def release(self, key: str, session: str) -> bool:
        """Give the lock back."""
        return await self._write(partial(self._consul.release, key, session))

    async def get(self, key: str) -> Entry | None:
        """The key as it is now."""
        return (await self._read(partial(self._consul.get, key))).entry

    async def under(self, prefix: str) -> Sequence[Entry]:
        """Every key under a prefix."""
        return await self._read(partial(self._consul.under, prefix))

    async def put(self, key: str, value: bytes) -> None:
        """Set a value."""
        await self._write(partial(self._consul.put, key, value))

    async def delete(self, key: str) -> None:
        """Remove the key."""
        await self._write(partial(self._consul.delete, key))

    async def watch(self, key: str, index: int, wait: float) -> tuple[Entry | None, int]:
        """See the port. `stop` makes it raise `Unavailable`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            hold = max(0.0, min(deadline - loop.time(), BLOCK))
            ask: Serve[Seen] = partial(self._consul.block, key, index, hold)
            seen = await self._read(ask, hold + self._timeout)
            if seen.index != index or deadline <= loop.time():
                return seen.entry, seen.index

    # calls

    async def _read(self, serve: Serve[T], timeout: float | None = None) -> T:
        try:
            return await self._ask(serve, timeout)
        except NoAnswer as error:
            raise Unavailable(f"the simulated Consul gave no answer: {error}") from error

    async def _write(self, serve: Serve[T], timeout: float | None = None) -> T:
        try:
            return await self._ask(serve, timeout)
        except NoAnswer as error:
            raise UnknownOutcome(f"the simulated Consul gave no answer to a write: {error}") from error

    async def _ask(self, serve: Serve[T], timeout: float | None) -> T:
        if not self._caller.is_open:
            raise Unavailable("the simulated Consul is not open; start it before use")
        if not self._consul.is_up:
            raise Unavailable("the simulated Consul cannot be reached")
        return await self._caller.ask(serve, self._timeout if timeout is None else timeout)
