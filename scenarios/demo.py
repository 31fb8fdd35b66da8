"""`forebay demo`: jobs go the whole way while parts of the runtime are crashed, and nothing may be lost.

The runtime is the real one, in this process; its stores are in a folder, or on the servers that a configuration names. The
jobs come over HTTP from a thread with a plain HTTP client. The account at the end is taken from files that the runtime does
not write.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
from anyio import to_thread
from attrs import define, evolve, field
from rich.console import Console
from rich.text import Text

from forebay.actors.events import Subscription
from forebay.actors.snapshot import State
from forebay.backends.clock import SystemClock
from forebay.backends.errors import Unavailable
from forebay.config import Config, from_mapping
from forebay.jobs import new_ulid
from forebay.scenarios.demo_faults import FAULTS, Fault
from forebay.scenarios.demo_flow import Flow, Gauge, gauge
from forebay.scenarios.demo_jobs import handlers, workload
from forebay.scenarios.demo_news import news_of, risen
from forebay.scenarios.demo_post import post_share
from forebay.scenarios.demo_view import View, print_ledger, view_for
from forebay.scenarios.journal import Journal
from forebay.scenarios.ledger import Ledger, dead_list, ledger_of
from forebay.supervisors.job_runtime import JobRuntime
from forebay.supervisors.topology import relay_path

APPS: Final = 4
"""Threads that post."""
PATIENCE: Final = 60.0
"""Seconds without any change after which the demo gives up."""
CONNECT: Final = 15.0
"""Seconds that the queue's server may take to answer for the first time."""
QUIET: Final = 3.0
"""With nothing unfinished in the queue and nothing moving for so many seconds, nothing more will come."""
TICK: Final = 0.1

SETTINGS: Final[Mapping[str, Any]] = {
    "topics": [{"name": "jobs", "partitions": 4}],
    "gate": {"port": 0},
    "workers": {"slots": 8, "lease": "5s", "drain": "2s"},
    "console": False,
}
"""The demo's own configuration: embedded stores, any free port."""


class NoGate(Exception):
    """The configuration has no gate, and the demo posts over HTTP."""


def run_demo(config: Config | None, data: Path | None, number: int) -> int:
    """Run it and return the exit status: 0 if nothing was lost. Without `data` the stores are removed at the end.

    A folder that an earlier demo has used, or was killed in, is taken up again: its jobs are in the account too. Raises
    `NoGate` and what starting a runtime raises.
    """
    with TemporaryDirectory(prefix="forebay-demo-") as scratch:
        if config is None:
            config = evolve(from_mapping(SETTINGS, "the demo's configuration"), data=data or Path(scratch))
        elif data is not None:
            config = evolve(config, data=data)
        if config.gate is None:
            raise NoGate("the demo posts over HTTP and the configuration has no gate (gate: off); give it one")
        config.data.mkdir(parents=True, exist_ok=True)
        return anyio.run(_run, config, number)


async def _run(config: Config, number: int) -> int:
    posted, handled = config.data / "posted.journal", config.data / "handled.journal"
    topic = config.topics[0].name
    console = Console(highlight=False)
    with Journal(handled) as journal:
        async with (runtime := JobRuntime(config, registry=handlers(journal))):
            play = _Play(runtime, topic, gauge(topic, runtime.queue(topic), posted, handled), number)
            with view_for(console, number) as view:
                await play.perform(view, posted)
            ledger = ledger_of(posted, handled, await dead_list(runtime.queue(topic), topic))
            rose = risen(runtime.tree())
    _conclude(console, ledger, rose, play.gave_up)
    return ledger.exit_status


def _conclude(console: Console, ledger: Ledger, rose: str, gave_up: str) -> None:
    if gave_up:
        console.print(Text(f"\n{gave_up}", "bold red"), soft_wrap=True)
    console.print(Text.assemble(("\nrisen again  ", "bold"), rose or "nobody"), soft_wrap=True)
    print_ledger(console, ledger)


@define
class _Play:
    """One performance on one topic. `gave_up` says why it ended before every job had."""

    runtime: JobRuntime
    topic: str
    gauge: Gauge
    number: int
    faults: list[Fault] = field(factory=lambda: list(FAULTS))
    posting: bool = True
    gave_up: str = ""

    async def perform(self, view: View, posted: Path) -> None:
        """Post, break things and show it, until every accepted job has an end or there is no hope of one."""
        url = await self.runtime.gate_url()
        assert url is not None
        stop = threading.Event()
        before = await self._first_look()
        async with self.runtime.events.subscribe(10_000) as subscription, anyio.create_task_group() as group:
            try:
                group.start_soon(self._post, url, posted, stop)
                await self._watch(view, subscription, before)
            finally:
                stop.set()

    async def _post(self, url: str, posted: Path, stop: threading.Event) -> None:
        now = SystemClock().wall()
        random = Random(now)
        jobs = list(workload(new_ulid(now, random), self.number, random))
        async with anyio.create_task_group() as group:
            for n in range(APPS):
                group.start_soon(to_thread.run_sync, post_share, url, posted, jobs[n::APPS], Random(now + n), stop)
        self.posting = False

    async def _first_look(self) -> Flow:
        """Return how things are before the first post; an earlier demo's jobs may be there. Raises `Unavailable`.

        A runtime waits for its stores, and so is up before a Redis that it has just begun to connect to.
        """
        deadline = anyio.current_time() + CONNECT
        while True:
            try:
                return await self.gauge.read()
            except Unavailable:
                if anyio.current_time() > deadline:
                    raise
            await anyio.sleep(TICK)

    async def _watch(self, view: View, subscription: Subscription, before: Flow) -> None:
        begun = moved = anyio.current_time()
        last = before
        while True:
            news = await self._break_something((last.posted - before.posted) / self.number)
            await anyio.sleep(TICK)
            flow, now = await self.gauge.read(), anyio.current_time()
            view.show(now - begun, self.runtime.tree(), flow, [*news, *news_of(subscription.drain())])
            if flow != last or self.posting or self.faults or not self._relaying():
                last, moved = flow, now
            elif self._is_over(flow, now - moved):
                return

    async def _break_something(self, share: float) -> list[Text]:
        """Do the next bad deed if its time has come; `share` of the jobs have been posted.

        One that had no chance before every job has ended is left out.
        """
        if not self.faults or share < self.faults[0].when:
            return []
        deed = await self.faults[0].act(self.runtime, self.topic)
        if deed is not None or not (self.posting or self.gauge.missing):
            del self.faults[0]
        return [] if deed is None else [Text(f"the demo {deed}", "bold")]

    def _relaying(self) -> bool:
        """Whether a term runs; while there is none, jobs wait in the log, and that nothing moves says nothing."""
        term = self.runtime.tree().find(relay_path(self.topic, "term"))
        return term is not None and term.state is State.RUNNING

    def _is_over(self, flow: Flow, still: float) -> bool:
        """Whether every accepted job has an end, or nothing has changed for so long that none will come any more."""
        missing = self.gauge.missing
        if missing and flow.counts.unfinished == 0 and still > QUIET:
            self.gave_up = f"{len(missing)} jobs have no end and the queue has nothing unfinished; the demo stops waiting"
        elif still > PATIENCE:
            self.gave_up = f"{len(missing)} jobs have no end and nothing has moved for {PATIENCE:.0f} s: {flow.line()}"
        return not missing or bool(self.gave_up)
