"""The account of a run: was every job that got a positive answer carried to an end?

Lost = ids answered positively, as the poster wrote them down, minus ids in the handlers' own file, minus ids in the dead
list. No counter of the runtime is used, so a runtime that miscounts cannot hide a loss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attrs import field, frozen

from forebay.backends.ports import JobState, Queue
from forebay.scenarios.journal import Journal, read_journal

STARTED: Final = "started"
FINISHED: Final = "finished"
_PAGE: Final = 1000


@frozen
class Ledger:
    """`posted` are the ids answered positively; `started` and `finished` count a job's runs; `dead` is the dead list."""

    posted: frozenset[str]
    started: Counter[str] = field(repr=False)
    finished: Counter[str] = field(repr=False)
    dead: frozenset[str]

    @property
    def retried(self) -> frozenset[str]:
        """Jobs that were started more than once."""
        return frozenset(id_ for id_, runs in self.started.items() if runs > 1)

    @property
    def duplicates(self) -> frozenset[str]:
        """Jobs that were finished more than once: allowed (delivery is at least once), and counted."""
        return frozenset(id_ for id_, ends in self.finished.items() if ends > 1)

    @property
    def lost(self) -> frozenset[str]:
        """Jobs that were accepted and have no end. There must be none."""
        return self.posted - self.finished.keys() - self.dead

    @property
    def exit_status(self) -> int:
        """0 if nothing was lost, else 1."""
        return 1 if self.lost else 0

    def rows(self) -> list[tuple[str, int, str]]:
        """Return name, number and meaning of each figure, in the order to print them."""
        return [
            ("posted", len(self.posted), "answered positively, as the poster wrote them down"),
            ("finished", len(self.finished), "in the handlers' own file"),
            ("retried", len(self.retried), "started more than once"),
            ("dead", len(self.dead), "gave up, kept in the dead list"),
            ("duplicates", len(self.duplicates), "finished more than once"),
            ("lost", len(self.lost), "posted - finished - dead"),
        ]

    def __str__(self) -> str:
        """Return the figures as lines of plain text, and the ids that were lost."""
        lines = [f"{name:<11}{number:>7}  {meaning}" for name, number, meaning in self.rows()]
        lines += [f"lost: {id_}" for id_ in sorted(self.lost)]
        return "\n".join(lines)


def ledger_of(posted: Path, handled: Path, dead: Iterable[str]) -> Ledger:
    """Return the account of two journals (first word of a line: an id) and the dead list, which may hold others' jobs."""
    runs = read_journal(handled)
    accepted = frozenset(words[0] for words in read_journal(posted))
    return Ledger(
        posted=accepted,
        started=Counter(words[0] for words in runs if words[1] == STARTED),
        finished=Counter(words[0] for words in runs if words[1] == FINISHED),
        dead=accepted.intersection(dead),
    )


def note_started(journal: Journal, id_: str) -> None:
    """Write down that a handler begins to run a job."""
    journal.note(id_, STARTED)


def note_finished(journal: Journal, id_: str) -> None:
    """Write down that a handler has done its work; the last thing that it does."""
    journal.note(id_, FINISHED)


async def dead_list(queue: Queue, topic: str) -> frozenset[str]:
    """Return the ids of all dead jobs of a topic. Raises what `Queue.browse` raises."""
    found: set[str] = set()
    after = ""
    while page := await queue.browse(topic, JobState.DEAD, _PAGE, after):
        found.update(job.id for job in page)
        after = page[-1].id
    return frozenset(found)
