"""The jobs of a scenario: when each is posted, and what its handler will do, all drawn before the run."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from attrs import evolve, frozen

from forebay.scenarios.replay.plan import Draws
from forebay.scenarios.replay.schema import Post, Scenario

ATTEMPTS: Final = 8
"""Runs whose failure is drawn; more than any retry policy of a scenario's handler allows."""


@frozen
class Job:
    """One post: at `at` seconds to `topic`, through `host` (None: any that runs). Its runs take `takes` seconds, and those
    fail whose place in `fails` is true. `size` is the length of its payload.
    """

    id: str
    at: float
    topic: str
    host: str | None
    acks: str
    takes: float
    fails: tuple[bool, ...]
    size: int


def jobs_of(scenario: Scenario, draws: Draws) -> tuple[Job, ...]:
    """Every job, in the order of time. Each post of the workload draws from a stream of its own."""
    first = scenario.topology.topics[0].name
    jobs = [
        job
        for index, post in enumerate(scenario.workload)
        for job in _jobs(index, post, post.topic or first, draws(f"workload:{index}"))
    ]
    again = [
        second
        for index, post in enumerate(scenario.workload)
        if post.again
        for second in _again(post, [job for job in jobs if job.id.startswith(f"w{index}-")], draws(f"again:{index}"))
    ]
    return tuple(sorted(jobs + again, key=lambda job: (job.at, job.id)))


def _again(post: Post, jobs: list[Job], random: Random) -> Iterator[Job]:
    """The second posts: at some instant between the first and the last at which this one posts."""
    end = post.at + post.over
    for job in jobs:
        if random.random() < post.again:
            yield evolve(job, at=job.at + random.randint(0, int((end - job.at) * 1000)) / 1000)


def _jobs(index: int, post: Post, topic: str, random: Random) -> Iterator[Job]:
    for number in range(post.count):
        poisoned = random.random() < post.poison
        share = post.fails.draw(random)
        yield Job(
            id=f"w{index}-{number:05}",
            at=post.at + random.randint(0, int(post.over * 1000)) / 1000,
            topic=topic,
            host=post.host,
            acks=post.acks,
            takes=post.takes.draw(random),
            fails=tuple(poisoned or random.random() < share for _ in range(ATTEMPTS)),
            size=post.size.draw(random),
        )
