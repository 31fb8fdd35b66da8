"""A steady load: applications that post batches over HTTP to a fleet's gates and write down what was accepted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
from anyio import to_thread
from attrs import frozen

from forebay.scenarios.journal import Journal
from forebay.scenarios.poster import Poster, Stopped

APPS: Final = 3
"""Threads that post, each to the gate of another member as long as that serves."""
BATCH: Final = 10
LOOK: Final = 0.05


@frozen
class Poison:
    """What goes with each batch: bytes that are no job, to each of a topic's partitions in turn."""

    value: bytes
    partitions: int


class Load:
    """Posts `rate` jobs/s in all, batch by batch, each batch to the next of `topics`, until the block is left.

    Ids are `<name>:<topic>:<app>:<n>`; `posted` is the journal of those that were answered positively. A gate that refuses
    for the moment, or is gone, is asked again with the same ids: the load falls behind then, and never skips.
    """

    def __init__(
        self,
        name: str,
        gate: Callable[[int], str],
        folder: Path,
        topics: Sequence[str],
        *,
        rate: float,
        args: Mapping[str, Any] | None = None,
        poison: Poison | None = None,
    ) -> None:
        """`gate` names the gate for an application, by its number; it is asked before each connection.

        Where accepted `poison` lies (`<topic>/<partition>/<offset>`) is in the journal `poisoned`.
        """
        self._name = name
        self.posted = folder / f"{name}.posted"
        self.poisoned = folder / f"{name}.poisoned"
        self._gate = gate
        self._topics = topics
        self._pause = APPS * BATCH / rate
        self._args = {} if args is None else args
        self._poison = poison
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(APPS, thread_name_prefix=f"load {name}")
        self._apps: list[Future[None]] = []
        self._counts = [0] * APPS
        self._begun = 0.0

    async def __aenter__(self) -> Self:
        self._begun = time.monotonic()
        self._journals = Journal(self.posted), Journal(self.poisoned)
        self._apps = [self._threads.submit(self._post, number) for number in range(APPS)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with anyio.CancelScope(shield=True):  # the threads hear `stop` within a time-out; proxies must go on meanwhile
            await to_thread.run_sync(wait, self._apps)
        self._threads.shutdown()
        for journal in self._journals:
            journal.close()
        for app in self._apps:
            app.result()

    @property
    def accepted(self) -> int:
        """Jobs that had a positive answer so far."""
        return sum(self._counts)

    @property
    def seconds(self) -> float:
        """How long it has gone on."""
        return time.monotonic() - self._begun

    async def reach(self, jobs: int, seconds: float) -> None:
        """Wait until it has both so many jobs accepted and gone on for so long. Raises what ended an application."""
        while self.accepted < jobs or self.seconds < seconds:
            for app in self._apps:
                if app.done():
                    app.result()
            await anyio.sleep(LOOK)

    def _post(self, app: int) -> None:
        topics = [*self._topics[app:], *self._topics[:app]]
        poster, poisoner = (Poster(lambda: self._gate(app), journal, self._stop) for journal in self._journals)
        with closing(poster), closing(poisoner), suppress(Stopped):
            due = time.monotonic()
            for number, batch, topic in zip(count(app), self._batches(app, topics), _cycle(topics), strict=False):
                poster.post_batch(batch, {"topic": topic})
                self._counts[app] += len(batch)
                if self._poison is not None:
                    poisoner.post_raw(topic, number % self._poison.partitions, self._poison.value)
                due = max(due + self._pause, time.monotonic() - self._pause)
                self._stop.wait(max(0.0, due - time.monotonic()))

    def _batches(self, app: int, topics: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        for number, topic in zip(count(0, BATCH), _cycle(topics), strict=False):
            ids = (f"{self._name}:{topic}:{app}:{number + n}" for n in range(BATCH))
            yield [{"type": "work", "id": id_, "args": self._args} for id_ in ids]


def _cycle(topics: Sequence[str]) -> Iterator[str]:
    while True:
        yield from topics
