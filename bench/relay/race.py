"""The race: each contestant relays the whole topic into an empty Redis, then all again, so that what disturbs the machine
disturbs all alike.

All is seen from outside: progress by Redis, processor time by the kernel. What is measured lies between the first tenth of
the jobs and the last, so starting and finishing are no part of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import define, field, frozen
from measuring.spread import Spread
from plain import PENDING
from stage import KEYS, Child, Failed, Stage, cpu_seconds, running, wait_for

PLAIN: Final = Path(__file__).with_name("plain.py")


@frozen
class Lap:
    """Jobs per second, and processor time in microseconds per job: of the contestant, of Redis, of Kafka."""

    rate: float
    own: float
    redis: float
    kafka: float


@frozen
class Contestant:
    """`start` runs it as a process; `done` says how many jobs it has relayed, `arrived` how many Redis has in the end."""

    name: str
    start: Callable[[Stage], Iterator[Child]]
    done: Callable[[Stage], int]
    arrived: Callable[[Stage], int]
    stops_cleanly: bool = False


def _plain(how: str) -> Callable[[Stage], Iterator[Child]]:
    def start(stage: Stage) -> Iterator[Child]:
        servers = stage.servers
        command = [sys.executable, str(PLAIN), servers.kafka.bootstrap, servers.redis.other.url, how]
        with running(command, stage.folder / f"plain-{how}.log") as child:
            yield child

    return start


def _relay(stage: Stage) -> Iterator[Child]:
    with stage.relay() as child:
        yield child


OURS: Final = "forebay"
RIVAL: Final = "plain, list"
CONTESTANTS: Final = (
    Contestant(RIVAL, _plain("list"), lambda stage: stage.redis.llen(PENDING), lambda stage: stage.redis.llen(PENDING)),
    Contestant(
        "plain, hash + zset",
        _plain("hash"),
        lambda stage: stage.redis.zcard(PENDING),
        lambda stage: stage.redis.zcard(PENDING),
    ),
    Contestant(OURS, _relay, Stage.relayed, lambda stage: stage.redis.zcard(f"{KEYS}pending"), stops_cleanly=True),
)


@define
class Results:
    """The laps of each contestant, one for each round."""

    laps: dict[str, list[Lap]] = field(factory=dict)

    def spread(self, name: str, what: str) -> Spread:
        """Summarise what was measured."""
        return Spread.of([getattr(lap, what) for lap in self.laps[name]])

    def ratio(self, name: str, other: str) -> Spread:
        """Summarise how many times as fast `name` was as `other` in the same round."""
        return Spread.of([mine.rate / theirs.rate for mine, theirs in zip(self.laps[name], self.laps[other], strict=True)])


def race(stage: Stage, rounds: int, say: Callable[[str], None]) -> Results:
    """Let all contestants run `rounds` times. Raises `Failed` if one of them does not bring every job."""
    results = Results()
    for number in range(1, rounds + 1):
        for contestant in CONTESTANTS:
            say(f"round {number} of {rounds}: {contestant.name}")
            results.laps.setdefault(contestant.name, []).append(lap(stage, contestant))
    return results


def lap(stage: Stage, contestant: Contestant) -> Lap:
    """One run of one contestant."""
    stage.empty_queue()
    first, last = stage.jobs // 10, stage.jobs * 9 // 10
    with contextmanager(contestant.start)(stage) as child:
        wait_for(lambda: contestant.done(stage) >= first, "the first tenth of the jobs", child)
        begun = _look(stage, contestant, child)
        wait_for(lambda: contestant.done(stage) >= last, "nine tenths of the jobs", child)
        ended = _look(stage, contestant, child)
        wait_for(lambda: contestant.done(stage) >= stage.jobs, "the last job", child)
        if contestant.stops_cleanly:
            child.stop()
    if (arrived := contestant.arrived(stage)) != stage.jobs:
        raise Failed(f"{contestant.name} brought {arrived} jobs of {stage.jobs}")
    jobs, seconds, *processor = (after - before for before, after in zip(begun, ended, strict=True))
    return Lap(jobs / seconds, *(used / jobs * 1e6 for used in processor))


def _look(stage: Stage, contestant: Contestant, child: Child) -> tuple[float, ...]:
    """Jobs done, the time, and processor seconds of the three."""
    servers = stage.servers
    brokers = [broker.process.pid for broker in servers.kafka.brokers.values() if broker.process is not None]
    redis = servers.redis.other.process
    assert redis is not None
    processor = (cpu_seconds(child.process.pid), cpu_seconds(redis.pid), cpu_seconds(*brokers))
    return (contestant.done(stage), time.perf_counter(), *processor)
