"""The handlers' journal as evidence: every run of every process, read while the file grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import evolve

from forebay.scenarios.journal import JournalReader
from forebay.scenarios.real.handlers import BEGUN, FAILED, fingerprint
from forebay.scenarios.replay.evidence import Evidence, Run


class RunReader:
    """Enters runs into the evidence. A process's id is its life."""

    def __init__(self, path: Path, seen: Evidence, payloads: Mapping[str, bytes], since: Callable[[int], float]) -> None:
        """`payloads` are those that were posted, by job; `since` makes seconds of the run of a Unix time in ms."""
        self._journal = JournalReader(path)
        self._seen = seen
        self._payloads = payloads
        self._since = since
        self._places: dict[tuple[str, ...], int] = {}

    def read(self) -> None:
        """Take up what is new."""
        for id_, member, process, number, at, what, *more in self._journal.new():
            run = (member, process, number)
            if what == BEGUN:
                self._places[run] = len(self._seen.runs)
                intact = id_ in self._payloads and more == [fingerprint(self._payloads[id_])]
                self._seen.runs.append(Run(id_, member, int(process), self._since(int(at)), intact=intact))
            else:
                place = self._places[run]
                ended = evolve(self._seen.runs[place], ended=self._since(int(at)), failed=what == FAILED)
                self._seen.runs[place] = ended
