"""The `Coordination` port on a Consul agent, 1.7 or newer (tried with 1.8)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from consul.base import CB, Consul

from forebay.backends.consul.address import parse
from forebay.backends.consul.connection import Agent, Connection
from forebay.backends.consul.faults import not_consul
from forebay.backends.errors import BackendError, SessionGone
from forebay.backends.ports import Entry

BLOCK: Final = 30.0
"""Seconds that one blocking query waits at most; a watch makes as many as it needs. A network that loses everything shows
itself by their missing answers, and Consul would wait 600 at most."""
JITTER: Final = 1 / 16
"""By so much Consul lengthens the wait of a query, at random."""
MIN_RENEWAL: Final = 1.0
"""Seconds that a renewal may take in any case."""
MAX_LOCK_DELAY: Final = 60.0
"""Seconds; Consul shortens what is longer, and does not say so."""
PROBE: Final = "forebay/probe"


class ConsulCoordination:
    """Locks and watched values of the Consul behind the agent that `url` names (see `address`). Each call ends within
    `timeout` seconds, a watch so many after its wait. `start` makes sure that sessions of the TTL and lock delay (seconds)
    in `admits` can be had: the TTLs that are taken are a setting of the agents.

    Reads are consistent: the leader gives them, after it has made sure that it is one. Writes are sent once.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, admits: tuple[float, float] | None = None) -> None:
        address = parse(url)
        self._connection = Connection(address)
        self._token, self._dc = address.token, address.dc
        self._timeout = timeout
        self._admits = admits
        self._agent = self._within(timeout)
        self._sessions = Consul.Session(self._agent)
        self._keys = Consul.KV(self._agent)
        self._absent: dict[str, int] = {}
        self._renewals: dict[str, float] = {}

    async def start(self) -> None:
        """Connect, and read once. Raises `Unavailable`, or `BackendError` for no Consul, or for one that does not admit the
        sessions that are wanted; nothing is left open then. Until it has returned every other call raises `Unavailable`.
        """
        if self._connection.is_open:
            return
        trial = self._connection.trial()
        try:
            await self._probe(Agent(trial, self._token, self._dc, self._timeout))
            self._connection.take_over(trial)
        finally:
            await trial.close()

    async def _probe(self, agent: Agent) -> None:
        await self._read(Consul.KV(agent), PROBE)
        if self._admits is not None:
            session = await self._create(agent, PROBE, *self._admits)
            with suppress(SessionGone):
                await Consul.Session(agent).destroy(session)

    async def stop(self) -> None:
        """Close every connection. Watchers and calls that wait for an answer raise `Unavailable`."""
        await self._connection.close()

    # sessions

    async def create_session(self, name: str, ttl: float, lock_delay: float) -> str:
        """See the port. Raises `BackendError` for a `ttl` that the agents do not admit (below 10 s, unless their
        `session_ttl_min` is less, or over a day), and for a `lock_delay` over 60 s.
        """
        session = await self._create(self._agent, name, ttl, lock_delay)
        self._renewals[session] = min(self._timeout, max(MIN_RENEWAL, ttl / 4))
        return session

    async def _create(self, agent: Agent, name: str, ttl: float, lock_delay: float) -> str:
        if lock_delay > MAX_LOCK_DELAY:
            raise BackendError(f"Consul keeps no lock delay of {lock_delay:g} s; set lock.lock_delay to 60s or less")
        wanted = {
            "Name": name,
            "TTL": _duration(ttl),
            "LockDelay": _duration(lock_delay),
            "Behavior": "release",
            "NodeChecks": [],  # a session ends by its own silence alone, not by the health of its agent's node
        }
        # not by `Consul.Session.create`: it knows no TTL below 10 s
        session: str = await agent.put(
            CB.json(is_id=True), "/v1/session/create", self._place(), json.dumps(wanted), self._secret()
        )
        return session

    async def renew_session(self, session: str) -> None:
        """Raises `SessionGone`. Ends within a quarter of the session's TTL (but a second at least): a renewal that is lost
        shall leave time for another.
        """
        agent = self._within(self._renewals.get(session, self._timeout))
        await Consul.Session(agent).renew(session)

    async def destroy_session(self, session: str) -> None:
        """End it and release what it holds, with the lock delay where it held something. Absent is fine."""
        self._renewals.pop(session, None)
        with suppress(SessionGone):
            await self._sessions.destroy(session)

    # locks and values

    async def acquire(self, key: str, session: str, value: bytes) -> bool:
        """Take the lock, or take it again. Raises `SessionGone`."""
        taken: bool = await self._keys.put(key, value, acquire=session)
        return taken

    async def release(self, key: str, session: str) -> bool:
        """Give the lock back; its value becomes empty, as Consul sets one with every release."""
        released: bool = await self._keys.put(key, b"", release=session)
        return released

    async def get(self, key: str) -> Entry | None:
        """The key as it is now."""
        return (await self._read(self._keys, key))[0]

    async def under(self, prefix: str) -> Sequence[Entry]:
        """Every key under a prefix; Consul gives them in order."""
        _, found = await self._keys.get(prefix, recurse=True)
        try:
            return tuple(_entry(item) for item in found or ())
        except (LookupError, TypeError, ValueError) as error:
            raise not_consul(self._connection.where, error) from error

    async def put(self, key: str, value: bytes) -> None:
        """Set a value."""
        await self._keys.put(key, value)

    async def delete(self, key: str) -> None:
        """Remove the key."""
        await self._keys.delete(key)

    # watch

    async def watch(self, key: str, index: int, wait: float) -> tuple[Entry | None, int]:
        """See the port; `stop` makes it raise `Unavailable`.

        The first look does not block: a Consul that was restored from a backup has smaller indexes than ours, and would
        let a query wait until they have grown past it. From then on each query waits for what is newer than the last answer.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        entry, seen = await self._read(self._keys, key)
        while self._is_known(key, index, entry, seen):
            left = deadline - loop.time()
            if left <= 0:
                return entry, index
            entry, seen = await self._block(key, seen, min(left, BLOCK))
        if entry is None:
            self._absent[key] = seen
        else:
            self._absent.pop(key, None)
        return entry, seen

    def _is_known(self, key: str, index: int, entry: Entry | None, seen: int) -> bool:
        """Whether the caller has seen this. While a key is absent its index is that of its neighbours, and grows with
        theirs; so it is remembered with which index a key was last said to be absent.
        """
        return seen == index or (entry is None and self._absent.get(key) == index)

    async def _block(self, key: str, index: int, wait: float) -> tuple[Entry | None, int]:
        keys = Consul.KV(self._within(self._timeout + wait * (1 + JITTER)))
        return await self._read(keys, key, index=index, wait=_duration(wait))

    async def _read(self, keys: Any, key: str, **block: object) -> tuple[Entry | None, int]:
        index, found = await keys.get(key, **block)
        try:
            entry = found and _entry(found)
            seen = entry.modify_index if entry else int(index)
        except (LookupError, TypeError, ValueError) as error:
            raise not_consul(self._connection.where, error) from error
        return entry, seen

    def _within(self, seconds: float) -> Agent:
        return Agent(self._connection, self._token, self._dc, seconds)

    def _place(self) -> list[tuple[str, str]]:
        return [("dc", self._dc)] if self._dc else []

    def _secret(self) -> dict[str, str]:
        return {"X-Consul-Token": self._token} if self._token else {}


def _entry(found: Mapping[str, Any]) -> Entry:
    return Entry(found["Key"], found["Value"] or b"", int(found["ModifyIndex"]), found.get("Session"))


def _duration(seconds: float) -> str:
    """As Consul reads it. Never 0 for more than that: a wait of 0 means five minutes there."""
    return f"{max(round(seconds * 1000), int(seconds > 0))}ms"
