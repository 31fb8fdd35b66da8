"""Where the demo's jobs are right now: what the picture shows. The account at the end does not rest on it."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from forebay.backends.ports import Counts, Queue
from forebay.scenarios.journal import JournalReader
from forebay.scenarios.ledger import FINISHED, STARTED, dead_list


@frozen
class Flow:
    """Jobs at each place. `in_log` are those accepted that the queue does not have yet, `dead` those of this demo."""

    posted: int
    in_log: int
    counts: Counts
    done: int
    retried: int
    dead: int

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
            ("dead", self.dead),
        ]


@frozen
class Gauge:
    """Reads the flow of one topic. `posted` and `handled` are the journals of the poster and of the handlers.

    Servers may hold jobs of earlier demos, so what is counted is what these journals name.
    """

    topic: str
    queue: Queue
    posted: JournalReader
    handled: JournalReader
    accepted: set[str] = field(factory=set)
    started: set[str] = field(factory=set)
    retried: set[str] = field(factory=set)
    finished: set[str] = field(factory=set)
    dead: set[str] = field(factory=set)

    @property
    def missing(self) -> set[str]:
        """Jobs that were accepted and have no end yet, as of the last `read`."""
        return self.accepted - self.finished - self.dead

    async def read(self) -> Flow:
        """Return the flow as it is. Raises `Unavailable`."""
        counts = await self.queue.counts(self.topic)
        dead = await dead_list(self.queue, self.topic)
        self._read_journals()
        self.dead.update(self.accepted & dead)
        return Flow(
            posted=len(self.accepted),
            in_log=max(0, len(self.missing) - counts.unfinished),
            counts=counts,
            done=len(self.finished),
            retried=len(self.retried),
            dead=len(self.dead),
        )

    def _read_journals(self) -> None:
        self.accepted.update(words[0] for words in self.posted.new())
        for id_, what in self.handled.new():
            if what == FINISHED:
                self.finished.add(id_)
            elif what == STARTED:
                (self.retried if id_ in self.started else self.started).add(id_)


def gauge(topic: str, queue: Queue, posted: Path, handled: Path) -> Gauge:
    """Return a gauge that reads both journals from their beginning."""
    return Gauge(topic, queue, JournalReader(posted), JournalReader(handled))
