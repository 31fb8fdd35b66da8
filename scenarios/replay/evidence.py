"""What is known of a run: plain values that the checks look at; of these, `leases` is known on the simulation alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from forebay.actors.events import Event, Noted
from forebay.actors.snapshot import Node
from forebay.backends.ports import Record
from forebay.jobs.envelope import ID
from forebay.scenarios.simulation.lease_use import LeaseUse

Place = tuple[str, int, int]
"""A record's: topic, partition, offset."""


@frozen
class Accepted:
    """A job that got a positive answer, at `at` (seconds of the run); `acks` is what was asked for: leader or all."""

    at: float
    topic: str
    partition: int
    offset: int
    acks: str = "leader"


@frozen
class Run:
    """One run of a handler. `ended` is None while it goes on, and for ever where its process was killed.

    `intact` says whether the payload was byte for byte what was posted.
    """

    id: str
    host: str
    life: int
    started: float
    ended: float | None = None
    failed: bool = False
    intact: bool = True


@frozen
class Write:
    """A range that a relay wrote to a queue; an empty one where it moved the mark back, or planted its
    fence (partition -1). `token` is the term's, `epoch` names the queue's memory, and `spell` the time without room in which
    it was written (0: there was room, or a look at it had no answer yet).
    """

    at: float
    host: str
    topic: str
    token: tuple[int, int]
    partition: int
    start: int
    to: int
    epoch: str = ""
    spell: int = 0


@frozen
class Moment:
    """The system at one instant. A host that is dead or paused has None for its tree. `waiting` are jobs that have not
    ended, by topic; `lag` records that are not in the queue; `used` the share of a queue's memory limit; `asked` how many
    commands and connections each host has asked queues for since the moment before.
    """

    at: float
    lag: Mapping[str, int] = field(factory=dict)
    waiting: Mapping[str, int] = field(factory=dict)
    trees: Mapping[str, Node | None] = field(factory=dict)
    used: Mapping[str, float] = field(factory=dict)
    asked: Mapping[str, int] = field(factory=dict)
    accepted: int = 0
    finished: int = 0


@frozen
class Bite:
    """A fault that took place: from `at` until `until` (None: over at once). `bit` is False where it changed nothing."""

    id: str
    do: str
    args: Mapping[str, object]
    at: float
    until: float | None = None
    bit: bool = True


@define
class Evidence:
    """Everything seen so far.

    `unknown` are jobs with a post that had no clear answer, `turned_away` those of which every post had a clear no
    (`posting` counts the posts under way);
    `written` are those of both that the log has all the same. `gone` are accepted jobs whose record the log itself lost;
    `again` are jobs that were posted twice, neither time with a clear no; `detoured` are the records of the topics' retry
    lanes, each with its job; `ends` are ids that ended without being done, and how (`dead`,
    `parked`); `settled` are finished ones that a snapshot in the log says have ended, and since when; `leases` is what a
    simulated queue was told of leases; `refusals` counts what queues refused, by reason (`stale`, `missing`, `mismatch`,
    `memory`); `losses` are the times at which a queue lost data; `unanswered` the calls
    that a simulated queue did not hear, or whose reply got lost: when, and whose; `missed` are faults whose event did not
    come, or too late for them to take place; `healed` is when the healing was over, None before.
    """

    accepted: dict[str, Accepted] = field(factory=dict)
    refused: int = 0
    unknown: set[str] = field(factory=set)
    posting: Counter[str] = field(factory=Counter)
    turned_away: set[str] = field(factory=set)
    written: set[str] = field(factory=set)
    again: set[str] = field(factory=set)
    gone: set[str] = field(factory=set)
    detoured: set[tuple[str, Place]] = field(factory=set)
    runs: list[Run] = field(factory=list)
    ends: dict[str, str] = field(factory=dict)
    settled: dict[str, float] = field(factory=dict)
    writes: list[Write] = field(factory=list)
    leases: list[LeaseUse] = field(factory=list)
    losses: list[float] = field(factory=list)
    unanswered: list[tuple[float, str]] = field(factory=list)
    refusals: Counter[str] = field(factory=Counter)
    events: list[tuple[str, Event]] = field(factory=list)
    moments: list[Moment] = field(factory=list)
    bites: list[Bite] = field(factory=list)
    missed: list[str] = field(factory=list)
    healed: float | None = None

    @property
    def now(self) -> float:
        """The time of the newest moment."""
        return self.moments[-1].at if self.moments else 0.0

    def post_begins(self, id_: str) -> None:
        """Take note that a job is posted; what became of its posts is not known until each has ended."""
        self.turned_away.discard(id_)
        self.posting[id_] += 1

    def post_ended(self, id_: str, answer: Accepted | None, *, refused: bool = False) -> None:
        """Take note of what the poster of a job knows now: accepted, refused, or neither for sure."""
        self.posting[id_] -= 1
        taken = id_ in self.accepted or id_ in self.unknown
        if refused:
            self.refused += 1
            if not taken and not self.posting[id_]:
                self.turned_away.add(id_)
            return
        self.again |= {id_} if taken else set()
        if answer is None:
            self.unknown.add(id_)
        else:
            self.accepted.setdefault(id_, answer)

    def finished(self) -> Counter[str]:
        """How often each job was finished by its handler, without an error."""
        return Counter(run.id for run in self.runs if run.ended is not None and not run.failed)

    def unended(self) -> list[str]:
        """Jobs without an end, in order of id: of those that were accepted, and of those that the log has without that."""
        finished = self.finished()
        return sorted(id_ for id_ in self.accepted.keys() | self.written if id_ not in finished and id_ not in self.ends)

    def put_back(self) -> dict[Place, list[float]]:
        """When the job of a record went back into the log: the record has ended then, and the job has another one."""
        found: dict[Place, list[float]] = {}
        for _, event in self.events:
            if isinstance(event, Noted) and event.name == "put_back":
                note: dict[str, Any] = dict(event.fields)
                place = str(note["topic"]), int(note["partition"]), int(note["offset"])
                found.setdefault(place, []).append(event.at)
        return found

    def comes_twice(self, id_: str) -> bool:
        """Whether a relay ended after it had put the job back into the log and before its mark passed the record: then that
        record brings it too, or puts it back once more. Once the mark has passed, it is noted that the job was put back.
        """
        put_back, job = self.put_back(), self.accepted.get(id_)
        detours = [place for one, place in self.detoured if one == id_]
        places = detours if job is None else [(job.topic, job.partition, job.offset), *detours]
        return len(detours) > sum(len(put_back.get(place, ())) for place in places)

    def excused(self, id_: str) -> bool:
        """Whether the job's own acks allow its loss: the leader's alone, and the log lost the record."""
        return id_ in self.gone and self.accepted[id_].acks == "leader"


def place_of(record: Record) -> Place:
    """Where it lies."""
    return record.topic, record.partition, record.offset


def id_of(record: Record) -> str:
    """The id of the job in a record that a gate wrote; empty where there is none."""
    return next((value.decode("utf-8", "backslashreplace") for name, value in record.headers if name == ID), "")
