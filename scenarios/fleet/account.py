"""Who is still missing while a load runs, and the ledger at its end; from journals alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from forebay.scenarios.journal import JournalReader
from forebay.scenarios.ledger import FINISHED, STARTED, Ledger


class Account:
    """The books of one load: what was accepted, by the posters' journal; what ran, by the handlers', which loads share."""

    def __init__(self, name: str, posted: Path, handled: Path) -> None:
        self._prefix = f"{name}:"
        self._posted = JournalReader(posted)
        self._handled = JournalReader(handled)
        self._accepted: set[str] = set()
        self._runs: dict[str, Counter[str]] = {STARTED: Counter(), FINISHED: Counter()}

    def read(self) -> None:
        """Take up what is new. The handlers are read first: what they have finished was accepted before."""
        for id_, what in self._handled.new():
            if id_.startswith(self._prefix):
                self._runs[what][id_] += 1
        self._accepted.update(words[0] for words in self._posted.new())

    def missing(self) -> frozenset[str]:
        """Ids that were accepted and have not been finished, as of now."""
        self.read()
        return frozenset(self._accepted - self._runs[FINISHED].keys())

    def accepted(self) -> Counter[str]:
        """How many were accepted so far, by topic."""
        self.read()
        return Counter(topic_of(id_) for id_ in self._accepted)

    def finished(self) -> frozenset[str]:
        """Ids that have been finished so far."""
        self.read()
        return frozenset(self._runs[FINISHED])

    def lag(self) -> Counter[str]:
        """How many are missing, by topic."""
        return Counter(topic_of(id_) for id_ in self.missing())

    def ledger(self, dead: Iterable[str] = ()) -> Ledger:
        """Return the ledger, with these ids as ended in the dead list."""
        self.read()
        return Ledger(frozenset(self._accepted), self._runs[STARTED], self._runs[FINISHED], frozenset(dead))


def topic_of(id_: str) -> str:
    """Return the topic that a load put in a job's id."""
    return id_.split(":")[1]
