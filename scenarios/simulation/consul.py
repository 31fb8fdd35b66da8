"""A simulated Consul: sessions, locks and blocking queries, and what can happen to them.

The rules are Consul's. A session lapses between one and two TTLs after its last renewal; a key whose holder's session ended
cannot be locked for that session's lock delay; one index counts all changes and is a key's when it changes; writing what is
there already changes nothing. Servers that start again give all sessions their whole time, and know of no lock delay.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Final

from attrs import define, frozen

from forebay.backends.errors import BackendError, SessionGone
from forebay.backends.ports import Clock, Entry
from forebay.scenarios.simulation.network import Held, Network, Networked, NoAnswer

FIRST: Final = 1
"""The index of what was never set."""
LATENCY: Final = 0.001
"""Seconds that a trip takes at most, where nothing else is said."""
TTL_MIN: Final = 1.0
"""The shortest TTL that the agents admit (`session_ttl_min`; Consul's own is 10 s)."""
TTL_MAX: Final = 86_400.0


@define(eq=False)
class Session:
    """A session of the host that made it. `patience` is how many TTLs it lives without a renewal, 1 to 2."""

    id: str
    name: str
    host: str
    ttl: float
    lock_delay: float
    patience: float
    timer: asyncio.TimerHandle | None = None


@frozen
class Seen:
    """A key, and the index to go on watching from."""

    entry: Entry | None
    index: int


class SimConsul(Networked):
    """One Consul. `random` draws trips, session ids and how soon sessions lapse. `counts`: expired, destroyed."""

    def __init__(self, clock: Clock, random: Random, *, latency: float = LATENCY, ttl_min: float = TTL_MIN) -> None:
        super().__init__(Network(random, latency))
        self.counts: Counter[str] = Counter()
        self.is_up = True
        self._clock = clock
        self._random = random
        self._ttl_min = ttl_min
        self._held: Held[str] = Held(self.network)
        self._forget()

    def _forget(self) -> None:
        self._index = FIRST
        self._keys: dict[str, Entry] = {}
        self._removed: dict[str, int] = {}
        self._sessions: dict[str, Session] = {}
        self._delays: dict[str, float] = {}

    # --- looks

    def entry(self, key: str) -> Entry | None:
        """The key as it is."""
        return self._keys.get(key)

    def session(self, session: str) -> Session | None:
        """The session, if it lives."""
        return self._sessions.get(session)

    def holder(self, key: str) -> str | None:
        """The host whose session holds a key."""
        entry = self._keys.get(key)
        return None if entry is None or entry.session is None else self._sessions[entry.session].host

    # --- what happens to it

    def down(self) -> None:
        """Kill all its servers: connections break, and no session lapses meanwhile. What they know stays."""
        if self.is_up:
            self.is_up = False
            self._held.break_all("Consul was killed")
            for session in self._sessions.values():
                _stop(session)

    def up(self) -> None:
        """Start them again."""
        if not self.is_up:
            self.is_up = True
            self._delays.clear()
            for session in self._sessions.values():
                self._await(session)

    def expire(self, host: str) -> int:
        """End every session that a host made, as if it had not renewed them; return how many."""
        mine = [session for session in self._sessions.values() if session.host == host]
        for session in mine:
            self._lapse(session)
        return len(mine)

    def free(self, key: str) -> bool:
        """End the session that holds a key; False if none does."""
        entry = self._keys.get(key)
        if entry is None or entry.session is None:
            return False
        self._lapse(self._sessions[entry.session])
        return True

    def wipe(self) -> None:
        """Lose everything, as when it is set up anew: keys, sessions, lock delays, and the index, which begins again."""
        for session in self._sessions.values():
            _stop(session)
        self._forget()
        self._held.break_all("Consul was set up anew")

    def heal(self) -> None:
        """End all faults."""
        self.network.heal()
        self.up()

    # --- what it does for clients, each where the request arrives

    def require(self) -> None:
        """Raises `NoAnswer` when nobody is there any more."""
        if not self.is_up:
            raise NoAnswer("Consul does not run")

    def create(self, host: str, name: str, ttl: float, lock_delay: float) -> str:
        """Return a new session. Raises `BackendError` for a TTL that is not admitted."""
        self.require()
        if not self._ttl_min <= ttl <= TTL_MAX:
            span = f"{self._ttl_min:g}s to {TTL_MAX:g}s"
            raise BackendError(f"Consul refuses a session TTL of {ttl:g} s; set lock.ttl to {span}")
        patience = self._random.uniform(1.0, 2.0)
        session = Session(f"{self._random.getrandbits(128):032x}", name, host, ttl, lock_delay, patience)
        self._sessions[session.id] = session
        self._await(session)
        return session.id

    def renew(self, session: str) -> None:
        """Raises `SessionGone`."""
        self._await(self._living(session))

    def destroy(self, session: str) -> None:
        """End a session, if it lives."""
        self.require()
        if (found := self._sessions.get(session)) is not None:
            self.counts["destroyed"] += 1
            self._end(found)

    def acquire(self, key: str, session: str, value: bytes) -> bool:
        """Lock a key, or set its value if it is locked by this session. Raises `SessionGone`."""
        self._living(session)
        entry = self._keys.get(key)
        if entry is not None and entry.session not in (None, session):
            return False
        if self._delays.get(key, 0.0) > self._clock.monotonic():
            return False
        self._delays.pop(key, None)
        self._set(key, value, session)
        return True

    def release(self, key: str, session: str) -> bool:
        """Unlock a key, and empty it as the real adapter does; False if this session does not hold it."""
        self.require()
        entry = self._keys.get(key)
        if entry is None or entry.session != session:
            return False
        self._set(key, b"", None)
        return True

    def get(self, key: str) -> Seen:
        """The key as it is."""
        self.require()
        entry = self._keys.get(key)
        return Seen(entry, entry.modify_index if entry is not None else self._removed.get(key, FIRST))

    def block(self, key: str, index: int, wait: float) -> Seen | asyncio.Future[Seen]:
        """The key as it is when its index is not `index`, at the latest after `wait` seconds."""
        seen = self.get(key)
        return seen if seen.index != index or wait <= 0 else self._held.until([key], wait, partial(self.get, key))

    def under(self, prefix: str) -> Sequence[Entry]:
        """The keys that begin with a prefix, in order."""
        self.require()
        return tuple(self._keys[key] for key in sorted(self._keys) if key.startswith(prefix))

    def put(self, key: str, value: bytes) -> None:
        """Set a value; a lock stays."""
        self.require()
        entry = self._keys.get(key)
        self._set(key, value, None if entry is None else entry.session)

    def delete(self, key: str) -> None:
        """Remove a key, and the lock on it."""
        self.require()
        if self._keys.pop(key, None) is not None:
            self._index += 1
            self._removed[key] = self._index
            self._held.wake([key])

    # --- inside

    def _set(self, key: str, value: bytes, session: str | None) -> None:
        entry = self._keys.get(key)
        if entry is None or (entry.value, entry.session) != (value, session):
            self._index += 1
            self._keys[key] = Entry(key, value, self._index, session)
            self._held.wake([key])

    def _living(self, session: str) -> Session:
        self.require()
        if session not in self._sessions:
            raise SessionGone(f"session {session!r} has ended; create a new one and acquire again")
        return self._sessions[session]

    def _await(self, session: Session) -> None:
        """Let a session lapse when it is not renewed."""
        _stop(session)
        session.timer = self.network.later(session.ttl * session.patience, self._lapse, session)

    def _lapse(self, session: Session) -> None:
        self.counts["expired"] += 1
        self._end(session)

    def _end(self, session: Session) -> None:
        _stop(session)
        del self._sessions[session.id]
        for key, entry in tuple(self._keys.items()):
            if entry.session == session.id:
                self._delays[key] = self._clock.monotonic() + session.lock_delay
                self._set(key, entry.value, None)


def _stop(session: Session) -> None:
    if session.timer is not None:
        session.timer.cancel()
