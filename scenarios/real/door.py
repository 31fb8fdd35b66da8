"""Posting one job over HTTP, once, and what the poster then knows: accepted where, refused, or unknown."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlencode, urlsplit

from attrs import frozen

from forebay.scenarios.replay.handling import TYPE, payload
from forebay.scenarios.replay.workload import Job

PATIENCE: Final = 15.0
"""Seconds that an answer is waited for; more than a gate takes by default until it gives up itself."""
UNKNOWN: Final = frozenset({500, 504})
"""Answers that do not say whether the job is in the log (docs/http.md)."""


@frozen
class Accepted:
    """A positive answer, and the place that it names."""

    partition: int
    offset: int


@frozen
class Refused:
    """A clear no; nothing is in the log."""


@frozen
class Unknown:
    """No answer, or one that leaves it open."""


Answer = Accepted | Refused | Unknown


def post_once(url: str, job: Job) -> Answer:
    """Post it to a gate. Blocks for `PATIENCE` seconds at most, between any two bytes."""
    place = urlsplit(url)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE)
    try:
        try:
            connection.connect()
        except OSError:
            return Refused()
        return _answer(connection, job)
    except (OSError, HTTPException, ValueError, KeyError):
        return Unknown()
    finally:
        connection.close()


def _answer(connection: HTTPConnection, job: Job) -> Answer:
    query = urlencode({"topic": job.topic, "acks": job.acks})
    connection.request("POST", f"/v1/jobs?{query}", _body(job), {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    if response.status in UNKNOWN:
        return Unknown()
    if not 200 <= response.status < 300:
        return Refused()
    told = json.loads(text)
    return Accepted(int(told["partition"]), int(told["offset"]))


def _body(job: Job) -> bytes:
    """The payload stands in it as it is: what arrives must be that, byte for byte."""
    head = json.dumps({"type": TYPE, "id": job.id})[:-1].encode()
    return head + b', "args": ' + payload(job) + b"}"
