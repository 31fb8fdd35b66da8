"""Several runtimes on the same servers, each with proxies of its own to the services that it can be cut from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import anyio
from attrs import frozen

from forebay.scenarios.fleet.member import Member, MemberFailed
from forebay.scenarios.servers import Proxy
from forebay.scenarios.servers.ports import HOST

LOOK: Final = 0.05
_TOPIC_LOCK: Final = re.compile(r"/relays/relay\[(.+)\]/topic_lock")
HELD: Final = 60.0
"""Seconds until every topic must have a holder."""
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@frozen
class Services:
    """Where the servers are: the log by its URL, the others by their ports, queues by name."""

    log: str
    consul: int
    redis: Mapping[str, int]


@frozen
class Term:
    """A term of a topic, as its holder logged that it began (Unix seconds)."""

    topic: str
    member: str
    at: float
    token: tuple[int, int]


@frozen
class Ways:
    """A member's proxies: to coordination, and to each queue's Redis by the queue's name."""

    consul: Proxy
    redis: Mapping[str, Proxy]


class Fleet:
    """Members by name. `async with` starts all, waits until each topic is held, and kills all at the end.

    What a member logs, and who holds a topic, is read from its log file; nothing here asks a member to be honest about jobs.
    """

    def __init__(
        self,
        folder: Path,
        services: Services,
        settings: Mapping[str, Any],
        members: Mapping[str, Mapping[str, Any]],
        *,
        environ: Mapping[str, str] = NOTHING,
        options: Sequence[str] = (),
    ) -> None:
        """`settings` are the configuration that all share, `members` what each has besides, by name.

        Each process has `environ`, the journal of what was HANDLED and its own name (MEMBER); `options` are of its command.
        """
        self.folder = folder
        self.handled = folder / "handled"
        self.members: dict[str, Member] = {}
        self.ways: dict[str, Ways] = {}
        self._services = services
        self._settings = settings
        self._own = members
        self._environ = environ
        self._options = options
        self._stack = AsyncExitStack()
        self._read: dict[str, int] = {}
        self._terms: dict[str, list[Term]] = {}

    @property
    def topics(self) -> list[str]:
        """The names of all topics."""
        return [topic["name"] for topic in self._settings["topics"]]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for name, own in self._own.items():
                ways = self.ways[name] = await self._open_ways(stack)
                settings = {**self._settings, **self._urls(ways), **own}
                environ = {**self._environ, "HANDLED": str(self.handled), "MEMBER": name}
                member = Member(self.folder / name, settings, environ, self._options)
                stack.push_async_callback(member.kill)
                self.members[name] = member
                member.launch()
            for member in self.members.values():
                await member.ready()
            await self.held(self.topics, 0.0)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    async def _open_ways(self, stack: AsyncExitStack) -> Ways:
        consul = await stack.enter_async_context(Proxy(self._services.consul))
        redis = {name: await stack.enter_async_context(Proxy(port)) for name, port in self._services.redis.items()}
        return Ways(consul, redis)

    def _urls(self, ways: Ways) -> dict[str, Any]:
        return {
            "log": {"url": self._services.log},
            "coordination": {"url": f"consul://{HOST}:{ways.consul.port}"},
            "queues": {name: {"url": f"redis://{HOST}:{proxy.port}"} for name, proxy in ways.redis.items()},
        }

    # --- the doors

    def gate(self, number: int) -> str:
        """Return a gate for the application of that number: of the member of that number if that serves, or of the next."""
        members = list(self.members.values())
        turn = members[number % len(members) :] + members[: number % len(members)]
        return next((gate for member in turn if member.serving and (gate := member.gate)), f"http://{HOST}:9")

    def redirect(self, queue: str, port: int) -> None:
        """Have every member find a queue's Redis at another port from now on; open connections are reset."""
        for ways in self.ways.values():
            proxy = ways.redis[queue]
            proxy.target = port
            proxy.cut()
            proxy.heal()

    # --- who holds what

    def terms(self, topic: str) -> list[Term]:
        """Return the terms of a topic so far, by their tokens."""
        for member in self.members.values():
            events = member.happenings()
            for event in events[self._read.get(member.name, 0) :]:
                if event.name == "term_begins" and (match := _TOPIC_LOCK.fullmatch(event.path)):
                    token = int(event.fields["generation"]), int(event.fields["index"])
                    self._terms.setdefault(match[1], []).append(Term(match[1], member.name, event.at, token))
            self._read[member.name] = len(events)
        return sorted(self._terms.get(topic, ()), key=lambda term: term.token)

    def holder(self, topic: str) -> Member:
        """Return the member whose term is the newest. Raises `IndexError` if there was none."""
        return self.members[self.terms(topic)[-1].member]

    def held_by(self, member: Member) -> list[str]:
        """Return the topics whose newest term is the member's."""
        return [topic for topic in self.topics if self.holder(topic) is member]

    async def held(self, topics: Iterable[str], after: float, seconds: float = HELD) -> list[Term]:
        """Wait until each topic has a term that began after that time (Unix seconds); return these, one for each.

        Raises `MemberFailed` if that takes more than `seconds`.
        """
        wanted = list(topics)
        with anyio.move_on_after(seconds):
            while True:
                newest = [terms[-1] for topic in wanted if (terms := self.terms(topic)) and terms[-1].at > after]
                if len(newest) == len(wanted):
                    return newest
                await anyio.sleep(LOOK)
        words = "\n".join(f"--- {member.name}\n{member.last_words()}" for member in self.members.values())
        raise MemberFailed(f"not every topic of {wanted} has a new holder after {seconds:.0f} s\n{words}")
