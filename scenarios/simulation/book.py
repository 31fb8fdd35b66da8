"""What a simulated run has seen of its jobs from outside: which were posted with what answer, which handler ran when."""

from __future__ import annotations

import enum
from collections import Counter
from itertools import pairwise

from attrs import define, field, frozen


class Answer(enum.Enum):
    """What the poster knows of a job."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@frozen
class Post:
    """A job that was posted through `host`; `at` is when the answer came (seconds of virtual time).

    `partition` and `offset` are where an accepted one is in the log, else -1; `error` says why another is not.
    """

    id: str
    at: float
    host: str
    topic: str
    acks: str
    answer: Answer
    partition: int = -1
    offset: int = -1
    error: str = ""


@define
class Run:
    """One run of a handler in a host's life. `ended` is None while it goes on, and for ever where its process was killed."""

    id: str
    host: str
    life: int
    attempt: int
    started: float
    ended: float | None = None
    failed: bool = False


@define
class Book:
    """Everything in order. Posts by id: the newest answer counts, but for an accepted one, which stays accepted. `finished`
    counts how often each job was run to its end without an error.
    """

    posts: dict[str, Post] = field(factory=dict)
    runs: list[Run] = field(factory=list)
    finished: Counter[str] = field(factory=Counter)
    _open: dict[str, None] = field(factory=dict, init=False)

    def enter(self, post: Post) -> None:
        """Note an answer."""
        known = self.posts.get(post.id)
        if known is not None and known.answer is Answer.ACCEPTED:
            return
        self.posts[post.id] = post
        if post.answer is Answer.ACCEPTED and post.id not in self.finished:
            self._open[post.id] = None

    def begin(self, run: Run) -> None:
        """A handler was called."""
        self.runs.append(run)

    def end(self, run: Run, at: float, *, failed: bool) -> None:
        """A handler has returned, or raised."""
        run.ended, run.failed = at, failed
        if not failed:
            self.finished[run.id] += 1
            self._open.pop(run.id, None)

    def ids(self, answer: Answer) -> list[str]:
        """Return the ids that got this answer, in order of their first post."""
        return [id_ for id_, post in self.posts.items() if post.answer is answer]

    def unfinished(self) -> list[str]:
        """Accepted jobs that no handler has finished."""
        return list(self._open)

    def repeated(self) -> list[str]:
        """Jobs that were finished more than once."""
        return [id_ for id_, times in self.finished.items() if times > 1]

    def overlaps(self) -> list[tuple[Run, Run]]:
        """Runs of one job that went on at the same time, in lives that were not over."""
        by_id: dict[str, list[Run]] = {}
        for run in self.runs:
            by_id.setdefault(run.id, []).append(run)
        return [
            (first, second)
            for runs in by_id.values()
            for first, second in pairwise(runs)
            if first.ended is not None and first.ended > second.started
        ]
