"""Embedded coordination: the `Coordination` port on one SQLite file.

Sessions live in memory, because none outlives the process; what they hold is in the file. A session
is over the moment its time to live has passed: every call looks for that first, and a task of the
adapter does so for those who only watch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

from attrs import define

from forebay.backends.errors import BackendError, SessionGone, Unavailable
from forebay.backends.ports import Clock, Entry
from forebay.backends.sqlite import keys
from forebay.backends.sqlite.database import Database
from forebay.backends.wakeups import Wakeups

_RETRY = 1.0  # seconds until expiry is tried again where the disk refused
_IDLE = 3600.0  # seconds to sleep where there is no session; a new one wakes the task


@define
class _Session:
    id: str
    ttl: float
    lock_delay: float
    deadline: float


class SqliteCoordination:
    """Locks and watched values in `path`; see the port. `random` names the sessions."""

    def __init__(self, path: Path, clock: Clock, random: Random) -> None:
        self._path = path
        self._database = Database(path, keys.SCHEMA)
        self._clock = clock
        self._random = random
        self._sessions: dict[str, _Session] = {}
        self._changes: Wakeups[str] = Wakeups()
        self._deadlines: Wakeups[None] = Wakeups()
        self._expiry: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the file and release what sessions of an earlier process held. Raises
        `StoreCorrupt`, `Unavailable`.
        """
        if self._expiry is not None:
            return
        self._sessions.clear()
        await self._database.start(keys.forget_sessions)
        self._changes.open()
        self._expiry = asyncio.create_task(self._expire_for_ever(), name=f"{self._path.name}: expiry")

    async def stop(self) -> None:
        """End the expiry task, close the file, end its thread. Watchers raise `Unavailable`."""
        self._changes.close()
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.wait((self._expiry,))
            self._expiry = None
        await self._database.stop()

    async def create_session(self, name: str, ttl: float, lock_delay: float) -> str:
        """A session that lapses `ttl` seconds after its last renewal. `name` is the beginning of
        its id.
        """
        await self._expire()
        session = f"{name}-{self._random.getrandbits(64):016x}"
        deadline = self._clock.monotonic() + ttl
        self._sessions[session] = _Session(session, ttl, lock_delay, deadline)
        self._deadlines.notify((None,))
        return session

    async def renew_session(self, session: str) -> None:
        """Raises `SessionGone`."""
        await self._expire()
        living = self._living(session)
        living.deadline = self._clock.monotonic() + living.ttl

    async def destroy_session(self, session: str) -> None:
        """End it now; what it holds is released with its lock delay."""
        await self._expire()
        found = self._sessions.get(session)
        if found is not None:
            found.deadline = self._clock.monotonic()
            await self._end(found)

    async def acquire(self, key: str, session: str, value: bytes) -> bool:
        """Take the lock, or take it again. Raises `SessionGone`."""
        await self._expire()
        self._living(session)
        now = self._clock.monotonic()
        return await self._database.run(
            partial(keys.acquire, key=key, session=session, value=value, now=now),
            committed=lambda taken: self._changes.notify((key,) if taken else ()),
        )

    async def release(self, key: str, session: str) -> bool:
        """Give the lock back; the next one may take it at once."""
        await self._expire()
        return await self._database.run(
            partial(keys.release, key=key, session=session),
            committed=lambda released: self._changes.notify((key,) if released else ()),
        )

    async def get(self, key: str) -> Entry | None:
        """The key as it is now."""
        return (await self._read(key)).entry

    async def under(self, prefix: str) -> Sequence[Entry]:
        """Every key under a prefix."""
        await self._expire()
        return await self._database.run(partial(keys.under, prefix=prefix))

    async def put(self, key: str, value: bytes) -> None:
        """Set a value."""
        await self._database.run(
            partial(keys.put, key=key, value=value),
            committed=lambda _: self._changes.notify((key,)),
        )

    async def delete(self, key: str) -> None:
        """Remove the key."""
        await self._database.run(partial(keys.delete, key=key), committed=lambda _: self._changes.notify((key,)))

    async def watch(self, key: str, index: int, wait: float) -> tuple[Entry | None, int]:
        """See the port. Raises `Unavailable` at `stop`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            with self._changes.expect((key,)) as news:
                self._require_open()
                seen = await self._read(key)
                if seen.index != index or not await news.wait(deadline - loop.time()):
                    self._require_open()
                    return seen.entry, seen.index

    async def _read(self, key: str) -> keys.Seen:
        await self._expire()
        return await self._database.run(partial(keys.read, key=key))

    def _require_open(self) -> None:
        if self._changes.closed:
            raise Unavailable(f"{self._path} is closed; start it before use")

    def _living(self, session: str) -> _Session:
        found = self._sessions.get(session)
        if found is None or found.deadline <= self._clock.monotonic():
            raise SessionGone(f"session {session!r} has ended; create a new one and acquire again")
        return found

    # expiry

    async def _expire(self) -> None:
        now = self._clock.monotonic()
        for session in tuple(self._sessions.values()):
            if session.deadline <= now:
                await self._end(session)

    async def _end(self, session: _Session) -> None:
        """Release what the session held. It stays on the list, dead, until that is done."""
        locked_until = session.deadline + session.lock_delay
        await self._database.run(
            partial(keys.release_all, session=session.id, locked_until=locked_until),
            committed=partial(self._ended, session),
        )

    def _ended(self, session: _Session, held: tuple[str, ...]) -> None:
        self._sessions.pop(session.id, None)
        self._changes.notify(held)

    async def _expire_for_ever(self) -> None:
        while True:
            with self._deadlines.expect((None,)) as earlier:
                pause = await self._expire_or_put_off()
                await earlier.wait(pause)

    async def _expire_or_put_off(self) -> float:
        """Expire what is due; return the seconds until the next is."""
        try:
            await self._expire()
        except BackendError:  # whatever it is: callers hear of it, and without this task no lock lapses by itself
            return _RETRY
        now = self._clock.monotonic()
        return min((s.deadline - now for s in self._sessions.values()), default=_IDLE)
