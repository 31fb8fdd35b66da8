"""A scenario run on the simulation: from a file and a seed to a verdict, and everything that tells how it came to it."""

from __future__ import annotations

from itertools import zip_longest

from forebay.actors.exits import ActorError
from forebay.actors.relay.snapshots import Damaged
from forebay.backends.errors import BackendError
from forebay.backends.redis.connection import Connection
from forebay.scenarios.fences import Fenced
from forebay.scenarios.loop import Stuck, run, running_loop
from forebay.scenarios.replay.evidence import Evidence
from forebay.scenarios.replay.lists_stage import ListsStage, Store
from forebay.scenarios.replay.play import Play
from forebay.scenarios.replay.schema import HOUR, LISTS, Scenario
from forebay.scenarios.replay.sim_stage import SimStage
from forebay.scenarios.replay.told import Told
from forebay.scenarios.replay.verdict import Broken, verdict_of
from forebay.scenarios.simulation.redis import SimRedis
from forebay.scenarios.streams import Misaligned, Streams, Tape

BROKE_OFF = (Stuck, Fenced, ActorError, BackendError, Damaged)
"""What ends a run before its time: a failure too, with its own name."""


def run_scenario(scenario: Scenario, seed: int, replay: Tape | None = None, *, until: frozenset[str] = frozenset()) -> Told:
    """Run it on the simulation, once. With `replay` the draws are those of the tape. With `until` it ends as
    soon as one of these checks fails; see `Play`.

    The same scenario, seed and code give the same digest in every process. Raises `Misaligned`, after the run, for the tape
    of another one.
    """
    streams = Streams(seed, replay=replay, strict=False)
    one = _One(scenario, until)
    horizon = 2 * (scenario.phases.chaos + scenario.phases.converge) + HOUR
    try:
        broken = run(one.main, seed=streams, explore=True, horizon=horizon)
    except BROKE_OFF as error:
        broken = [Broken("run", type(error).__name__, one.seconds, str(error))]
    if replay is not None:
        _check_aligned(replay, streams.tape)
    return one.told(seed, broken, streams.tape)


def _check_aligned(tape: Tape, drawn: Tape) -> None:
    """Not while it runs: a loop cannot end in order where no draw may be made any more."""
    for place, (was, now) in enumerate(zip_longest(tape, drawn)):
        if was != now:
            told = f"draw {place}: the tape has {was or 'no more'}, the run {now or 'no more'}"
            raise Misaligned(f"{told}; the code or the scenario is not what was recorded")


def _stage_for(scenario: Scenario) -> SimStage | ListsStage:
    if scenario.design == LISTS:
        loop = running_loop()
        return ListsStage(scenario, _store(SimRedis("redis", loop.clock, loop.streams.stream("redis"))))
    return SimStage(scenario)


def _store(server: SimRedis) -> Store:
    async def limit(memory: int) -> None:
        server.limit_memory(memory)

    return Store(lambda: Connection(lambda: server.client("host")("redis:"), "simulated Redis"), limit)


class _One:
    def __init__(self, scenario: Scenario, until: frozenset[str]) -> None:
        self._until = until
        self._scenario = scenario
        self._stage: SimStage | ListsStage | None = None
        self._play: Play | None = None
        self.seconds = 0.0

    async def main(self) -> list[Broken]:
        stage = self._stage = _stage_for(self._scenario)
        play = self._play = Play(self._scenario, stage, running_loop().streams.stream, self._until)
        async with stage.running():
            stage.begin_run()
            try:
                return await play.run()
            finally:
                self.seconds = stage.now()

    def told(self, seed: int, broken: list[Broken], tape: Tape) -> Told:
        stage = self._stage
        seen = Evidence() if stage is None else stage.seen
        eventually = None if self._play is None else self._play.eventually
        digest = "" if stage is None else stage.trace.digest
        verdict = verdict_of(self._scenario, seed, broken, seen, eventually, digest=digest, seconds=self.seconds)
        trees = dict(seen.moments[-1].trees) if seen.moments else {}
        return Told(verdict, seen, tape, None if stage is None else stage.trace, trees)
