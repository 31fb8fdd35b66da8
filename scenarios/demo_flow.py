"""Where the demo's jobs are right now: what the picture shows. The account at the end does not rest on it."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from forebay.backends.ports import Counts, LogConnection, Queue
from forebay.scenarios.journal import JournalReader
from forebay.scenarios.ledger import FINISHED, STARTED


@frozen
class Flow:
    """Jobs at each place. `in_log` are those accepted that the queue does not have yet."""

    posted: int
    in_log: int
    counts: Counts
    done: int
    retried: int

    def line(self) -> str:
        """Return it as one line of text."""
        return "  ".join(f"{name} {number}" for name, number in self.stages())

    def stages(self) -> list[tuple[str, int]]:
        """Return the places in the order that a job passes them."""
        counts = self.counts
        return [
            ("posted", self.posted),
            ("in log", self.in_log),
            ("delayed", counts.delayed),
            ("queued", counts.pending),
            ("running", counts.in_flight),
            ("retrying", counts.retrying),
            ("done", self.done),
            ("dead", counts.dead),
        ]


@frozen
class Gauge:
    """Reads the flow of one topic. `posted` and `handled` are the journals of the poster and of the handlers."""

    topic: str
    queue: Queue
    log: LogConnection
    posted: JournalReader
    handled: JournalReader
    accepted: set[str] = field(factory=set)
    started: set[str] = field(factory=set)
    retried: set[str] = field(factory=set)
    finished: set[str] = field(factory=set)

    async def read(self) -> Flow:
        """Return the flow as it is. Raises `Unavailable`."""
        extents = await self.log.extents()
        counts = await self.queue.counts(self.topic)
        self._read_journals()
        in_queue = counts.unfinished + counts.dead + len(self.finished)
        return Flow(
            posted=len(self.accepted),
            in_log=max(0, sum(extent.end for extent in extents.values()) - in_queue),
            counts=counts,
            done=len(self.finished),
            retried=len(self.retried),
        )

    def _read_journals(self) -> None:
        self.accepted.update(words[0] for words in self.posted.new())
        for id_, what in self.handled.new():
            if what == FINISHED:
                self.finished.add(id_)
            elif what == STARTED:
                (self.retried if id_ in self.started else self.started).add(id_)


def gauge(topic: str, queue: Queue, log: LogConnection, posted: Path, handled: Path) -> Gauge:
    """Return a gauge that reads both journals from their beginning."""
    return Gauge(topic, queue, log, JournalReader(posted), JournalReader(handled))
