"""An application that posts jobs over HTTP and writes down the ids that were answered positively.

It runs in threads of its own with a plain HTTP client, so that it sees the gate as any other program does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from threading import Event
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from attrs import frozen

from forebay.scenarios.journal import Journal

Job = Mapping[str, Any]

NO_QUERY: Final[Mapping[str, str]] = MappingProxyType({})

PASSING: Final = frozenset({429, 503, 504})
"""Answers that mean: the same job again, later."""


class Refused(Exception):
    """The gate will never take this job as it is; `status` and `body` are its answer."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"the gate answered {status}: {body[:500].decode(errors='replace')}")
        self.status, self.body = status, body


class Stopped(Exception):
    """The poster was told to stop before the job had a positive answer."""


@frozen
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes

    @property
    def positive(self) -> bool:
        """Whether the gate accepted."""
        return 200 <= self.status < 300


class Poster:
    """Posts from one thread, over one connection that is made again when it breaks.

    Every job brings its `id`, which is its idempotency key: a post that was refused for the moment, or whose outcome is
    unknown, is repeated with the same id every `pause` seconds until it is answered or `stop` is set.
    """

    def __init__(
        self,
        url: Callable[[], str],
        journal: Journal,
        stop: Event,
        *,
        timeout: float = 5.0,
        pause: float = 0.05,
    ) -> None:
        """`url` is asked before each connection, since a restarted gate may have another port."""
        self._url = url
        self._journal = journal
        self._stop = stop
        self._timeout = timeout
        self._pause = pause
        self._connection: HTTPConnection | None = None

    def post(self, job: Job, query: Mapping[str, str] = NO_QUERY) -> None:
        """Return once the job is accepted and its id is written down. Raises `Refused`, `Stopped`."""
        answer = self._insist("/v1/jobs", query, json.dumps(job).encode())
        if not answer.positive:
            raise Refused(answer.status, answer.body)
        self._journal.note(job["id"])

    def post_batch(self, jobs: Sequence[Job], query: Mapping[str, str] = NO_QUERY) -> None:
        """The same for several jobs in one request; those that were not accepted are posted one by one."""
        answer = self._insist("/v1/batch", query, json.dumps({"jobs": jobs}).encode())
        if not answer.positive:
            raise Refused(answer.status, answer.body)
        results = json.loads(answer.body)["results"]
        left = []
        for job, result in zip(jobs, results, strict=True):
            if 200 <= result["status"] < 300:
                self._journal.note(job["id"])
            else:
                left.append(job)
        for job in left:
            self.post(job, query)

    def post_raw(self, topic: str, partition: int, value: bytes) -> str:
        """Post bytes to a partition; return `<topic>/<partition>/<offset>` once they are accepted and that is written down.

        Raises `Refused`, `Stopped`. Bytes have no id: after an unknown outcome they may be there twice.
        """
        answer = self._insist(f"/v1/topics/{topic}/partitions/{partition}", NO_QUERY, value)
        if not answer.positive:
            raise Refused(answer.status, answer.body)
        place = f"{topic}/{partition}/{json.loads(answer.body)['offset']}"
        self._journal.note(place)
        return place

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _insist(self, path: str, query: Mapping[str, str], body: bytes) -> Answer:
        target = f"{path}?{urlencode(query)}" if query else path
        while not self._stop.is_set():
            answer = self._try(target, body)
            if answer is not None and answer.status not in PASSING:
                return answer
            self._stop.wait(self._pause)
        raise Stopped(path)

    def _try(self, path: str, body: bytes) -> Answer | None:
        """One request; None if there was no answer, so that the outcome is unknown."""
        try:
            if self._connection is None:
                parts = urlsplit(self._url())
                self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=self._timeout)
            self._connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            return Answer(response.status, response.read())
        except (OSError, HTTPException):
            self.close()
            return None
