"""What the fault tests of the whole system share: sizes, configurations, loads with a verdict."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from attrs import frozen
from support.effort import LONG
from support.live import eventually

from forebay.backends.redis.codec import prefix
from forebay.scenarios.fleet import Account, Fleet, Load, Member, Services
from forebay.scenarios.ledger import Ledger
from forebay.scenarios.servers import RedisServer

JOBS, SECONDS = (30_000, 60.0) if LONG else (10_000, 20.0)
"""What each load posts at least, and how long it goes on at least."""
RATE = 1.1 * JOBS / SECONDS
"""Jobs per second in all."""
TTL, LOCK_DELAY = 3.0, 2.0
TAKEOVER = 2 * TTL + LOCK_DELAY
"""Seconds until a topic has its next holder, at most."""
SLACK = 3.0
"""Seconds more: candidates let those that come before them try first, and two busy cores begin a dozen terms."""
DRAINED = 120.0
"""Seconds until everything that was accepted has ended, with the fault over."""

HANDLERS = "forebay.scenarios.fleet.handlers"
WORKERS = {"slots": 40, "handlers": [HANDLERS], "lease": "3s", "drain": "2s"}
SETTINGS: Mapping[str, Any] = {
    "gate": {"port": 0},
    "console": {"port": 0},
    "workers": WORKERS,
}
LOCK = {"ttl": f"{TTL}s", "lock_delay": f"{LOCK_DELAY}s"}
"""Short, for tests that wait for a takeover; the usual times put up with a slower machine."""


@frozen
class Trial:
    """A load that goes on, and its books. `ledger` is the verdict, once the block is over."""

    load: Load
    account: Account
    ledgers: list[Ledger]

    @property
    def ledger(self) -> Ledger:
        return self.ledgers[0]


@asynccontextmanager
async def under_load(
    fleet: Fleet, name: str, topics: Sequence[str] = (), seconds: float = SECONDS, **more: Any
) -> AsyncIterator[Trial]:
    """Post to the fleet; the block begins when a quarter was posted. At its end the rest is posted and everything drains."""
    names = topics or fleet.topics
    async with Load(name, fleet.gate, fleet.folder, names, **{"rate": RATE, **more}) as load:
        trial = Trial(load, Account(name, load.posted, fleet.handled), [])
        await load.reach(JOBS // 4, SECONDS / 4)
        yield trial
        await load.reach(JOBS, seconds)
    await drained(trial.account)
    trial.ledgers.append(trial.account.ledger())


async def drained(account: Account, seconds: float = DRAINED) -> None:
    """Wait until nothing is missing, or until so long nothing has come that nothing will: the ledger says what is lost."""
    deadline, left = time.monotonic() + seconds, account.missing()

    async def over() -> bool:
        nonlocal deadline, left
        if (now := account.missing()) != left:
            deadline, left = time.monotonic() + seconds, now
        return not left or time.monotonic() > deadline

    await eventually(over, 10 * seconds)


def lost_nothing(trial: Trial, record_figure: Callable[[str, float, str], None], what: str) -> None:
    """The verdict: everything that was accepted has ended. How much ran twice is allowed, and counted."""
    ledger = trial.ledger
    told = f"jobs, lost {len(ledger.lost)}, finished twice {len(ledger.duplicates)}"
    record_figure(f"{what}: accepted", len(ledger.posted), told)
    assert ledger.lost == frozenset(), str(ledger)


async def refused(server: RedisServer, topics: Sequence[str]) -> int:
    """How many calls of terms that were over a Redis has refused (it counts them in the fence of each topic)."""
    async with server.client() as client:
        counts = [await client.hget(f"{prefix(topic)}fence", "refused") for topic in topics]
    return sum(int(count or 0) for count in counts)


def delete_key(port: int, key: str) -> None:
    """Remove a key from Consul, as a person would."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("DELETE", f"/v1/kv/{key}")
    assert connection.getresponse().read().strip() == b"true"
    connection.close()


def ends(member: Member, topic: str, after: float) -> list[float]:
    """When a member's term of a topic was ended by the loss of its lock, since a time (Unix seconds)."""
    path = f"/relays/relay[{topic}]/topic_lock"
    events = member.happenings()
    return [e.at for e in events if e.at > after and e.path == path and e.name == "exited"]


@asynccontextmanager
async def sound_fleet(
    folder: Path, services: Services, settings: Mapping[str, Any], members: Mapping[str, Mapping[str, Any]]
) -> AsyncIterator[Fleet]:
    """A fleet that runs; in the end none of its members may have logged a failure of its own."""
    async with Fleet(folder, services, settings, members) as fleet:
        yield fleet
        assert [crash for member in fleet.members.values() for crash in crashes(member)] == []


def crashes(member: Member) -> list[str]:
    """What a member logged as failed though nothing in its environment explains it."""
    errors = [event for event in member.happenings() if event.level == "error"]
    return [f"{e.name} {e.path} {e.fields}" for e in errors if not e.fields.get("detail", "").startswith("killed")]
