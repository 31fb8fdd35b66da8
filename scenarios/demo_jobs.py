"""The demo's workload: the kinds of job that a team chat has, in the mix that one sees, some of which fail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from functools import wraps
from random import Random
from typing import Any, Final

import anyio

from forebay.jobs import JobContext, Registry, RetryAfter, RetryPolicy
from forebay.scenarios.journal import Journal
from forebay.scenarios.ledger import note_finished, note_started

BRISK: Final = RetryPolicy(max_attempts=6, base=0.3, cap=1.5)
"""Retries at once rather than in minutes, since a demo is short."""

_MIX: Final = {
    "message.post": 45,
    "push.notify": 20,
    "url.unfurl": 15,
    "calendar.remind": 8,
    "billing.calculate": 8,
    "legacy.export": 4,
}


def workload(run: str, number: int, random: Random) -> Iterator[dict[str, Any]]:
    """Yield `number` jobs as they are posted, at least one of each kind; ids begin with `run`."""
    kinds = [*_MIX, *random.choices(list(_MIX), list(_MIX.values()), k=max(0, number - len(_MIX)))]
    for n, kind in enumerate(kinds[:number]):
        job: dict[str, Any] = {"type": kind, "id": f"{run}-{n:05}", "args": _arguments(kind, n, random)}
        if kind == "calendar.remind":
            job["delay"] = round(random.uniform(1.0, 4.0), 1)
        yield job


def _arguments(kind: str, n: int, random: Random) -> dict[str, Any]:
    if kind == "billing.calculate":
        return {"team": n, "lines": [{"seats": random.randint(1, 500), "price": "7.25"} for _ in range(20)]}
    if kind == "url.unfurl":
        return {"url": f"https://example.org/{n}?a=<b>&c=d"}
    return {"user": n, "text": "a / b & c < d"}


def handlers(journal: Journal) -> Registry:
    """Return the handlers; each writes down when it starts and, as its last act, that it has finished."""
    registry = Registry()
    for kind, handler, retry in (
        ("message.post", _post_message, RetryPolicy()),
        ("push.notify", _notify, BRISK),
        ("url.unfurl", _unfurl, BRISK),
        ("calendar.remind", _remind, RetryPolicy()),
        ("legacy.export", _export, RetryPolicy(max_attempts=3, base=0.3, cap=1.0)),
    ):
        registry.job(kind, retry=retry)(_recorded(handler, journal))
    registry.job("billing.calculate")(_recorded_in_thread(journal))
    return registry


def _recorded(handler: Any, journal: Journal) -> Any:
    @wraps(handler)
    async def recorded(job: JobContext) -> None:
        note_started(journal, job.id)
        await handler(job)
        note_finished(journal, job.id)

    return recorded


def _recorded_in_thread(journal: Journal) -> Any:
    """A handler that is not async runs in a thread."""

    def calculate(job: JobContext) -> None:
        note_started(journal, job.id)
        _calculate(job)
        note_finished(journal, job.id)

    return calculate


async def _post_message(job: JobContext) -> None:
    await _work(job, 0.02, 0.08)


async def _notify(job: JobContext) -> None:
    """Every fourth notification fails at first: the push service drops the connection."""
    random = await _work(job, 0.03, 0.09)
    if job.attempt == 1 and random.random() < 0.25:
        raise ConnectionError("the push service closed the connection")


async def _unfurl(job: JobContext) -> None:
    """A site that is asked too often says when to come back."""
    random = await _work(job, 0.1, 0.3)
    if job.attempt == 1 and random.random() < 0.2:
        raise RetryAfter(0.5, "the site answered 429")


async def _remind(job: JobContext) -> None:
    await _work(job, 0.01, 0.05)


async def _export(job: JobContext) -> None:
    """What can never work: every run fails, so the job ends in the dead list."""
    await _work(job, 0.01, 0.02)
    raise RuntimeError("the export service was shut down last year")


def _calculate(job: JobContext) -> None:
    total = sum((line["seats"] * Decimal(line["price"]) for line in job.args["lines"]), Decimal(0))
    assert total > 0
    time.sleep(0.05)  # in a thread: a database call, say


async def _work(job: JobContext, least: float, most: float) -> Random:
    """Wait like a call to some service; the same job always takes the same time."""
    random = Random(job.id)
    await anyio.sleep(random.uniform(least, most))
    return random
