"""A scenario run on real servers: from a file and a seed to a verdict of the same form as the simulation's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from redis.exceptions import RedisError

from forebay.actors.events import Event
from forebay.backends.errors import BackendError
from forebay.backends.redis.connection import Connection, connect
from forebay.scenarios.fleet import MemberFailed
from forebay.scenarios.real.real_stage import RealStage
from forebay.scenarios.real.site import Say, Site, redis_alone, throw_away
from forebay.scenarios.replay.lists_stage import ListsStage, Store
from forebay.scenarios.replay.play import Play
from forebay.scenarios.replay.schema import LISTS, Scenario
from forebay.scenarios.replay.told import Told
from forebay.scenarios.replay.verdict import REAL, Broken, verdict_of
from forebay.scenarios.servers import RedisServer, ServerFailed
from forebay.scenarios.streams import Streams
from forebay.scenarios.trace import Trace
from forebay.scenarios.tracing import write_event

BROKE_OFF: Final = (MemberFailed, ServerFailed, BackendError, RedisError)
"""What ends a run before its time: a failure too, with its own name."""


def run_real(scenario: Scenario, seed: int, say: Say) -> Told:
    """Run it once on servers of its own, in a temporary folder. `say` is told how it goes.

    Raises `CannotGet` if a server cannot be had, `ServerFailed` if one does not start.
    """
    with TemporaryDirectory(prefix="forebay-") as name, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(_on_its_own(scenario, seed, Path(name), say))


async def _on_its_own(scenario: Scenario, seed: int, folder: Path, say: Say) -> Told:
    if scenario.design == LISTS:
        async with redis_alone(folder / "servers", say) as server:
            return await play_lists(scenario, seed, server, say)
    async with throw_away(folder / "servers", scenario, say) as site:
        return await play_real(scenario, seed, site, folder, say)


async def play_real(scenario: Scenario, seed: int, site: Site, folder: Path, say: Say = lambda _: None) -> Told:
    """Run it once on servers that are there and healthy; `folder` gets the members' logs and journals.

    What is about the ways to the brokers needs a site that was made for the scenario.
    """
    return await _played(scenario, seed, RealStage(scenario, site, folder, say))


async def play_lists(scenario: Scenario, seed: int, server: RedisServer, say: Say = lambda _: None) -> Told:
    """Run one of the old design once, on a Redis that is there and empty: its clients and workers are in this process."""
    store = Store(lambda: Connection(partial(connect, server.url), server.name), server.limit_memory)
    return await _played(scenario, seed, ListsStage(scenario, store, say))


async def _played(scenario: Scenario, seed: int, stage: RealStage | ListsStage) -> Told:
    streams = Streams(seed)
    play = Play(scenario, stage, streams.stream)
    seconds = 0.0
    try:
        async with stage.running():
            stage.begin_run()
            try:
                broken = await play.run()
            finally:
                seconds = stage.now()
    except BROKE_OFF as error:
        broken = [Broken("run", type(error).__name__, seconds, str(error))]
    seen = stage.seen
    verdict = verdict_of(scenario, seed, broken, seen, play.eventually, digest=None, seconds=seconds, on=REAL)
    trees = dict(seen.moments[-1].trees) if seen.moments else {}
    trace = stage.trace if isinstance(stage, ListsStage) else _trace_of(seen.events)
    return Told(verdict, seen, streams.tape, trace, trees)


def _trace_of(events: Iterable[tuple[str, Event]]) -> Trace:
    """The events in order of time, as the simulation writes them."""
    at = 0.0
    trace = Trace(lambda: at)
    for host, event in sorted(events, key=lambda pair: pair[1].at):
        at = event.at
        write_event(event, trace, host)
    return trace
