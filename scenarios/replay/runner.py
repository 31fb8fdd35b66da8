"""A scenario run on the simulation: from a file and a seed to a verdict, and everything that tells how it came to it."""

from __future__ import annotations

from itertools import zip_longest

from attrs import frozen

from forebay.actors.exits import ActorError
from forebay.actors.snapshot import Node
from forebay.backends.errors import BackendError
from forebay.scenarios.fences import Fenced
from forebay.scenarios.loop import Stuck, run, running_loop
from forebay.scenarios.replay.counts import counted
from forebay.scenarios.replay.evidence import Evidence
from forebay.scenarios.replay.play import Play
from forebay.scenarios.replay.schema import HOUR, Scenario
from forebay.scenarios.replay.sim_stage import SimStage
from forebay.scenarios.replay.verdict import Broken, Verdict, recovered
from forebay.scenarios.streams import Misaligned, Streams, Tape
from forebay.scenarios.trace import Trace

BROKE_OFF = (Stuck, Fenced, ActorError, BackendError)
"""What ends a run before its time: a failure too, with its own name."""


@frozen
class Told:
    """A run that is over: its verdict, what was seen, every draw, every event, and the hosts' trees at the end."""

    verdict: Verdict
    seen: Evidence
    tape: Tape
    trace: Trace | None
    trees: dict[str, Node | None]


def run_scenario(scenario: Scenario, seed: int, replay: Tape | None = None) -> Told:
    """Run it on the simulation, once. With `replay` the draws are those of the tape.

    The same scenario, seed and code give the same digest in every process. Raises `Misaligned`, after the run, for the tape
    of another one.
    """
    streams = Streams(seed, replay=replay, strict=False)
    one = _One(scenario)
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
            told = f"draw {place}: the tape has {was or 'ended'}, the run {now or 'none left'}"
            raise Misaligned(f"{told}; the code or the scenario is not what was recorded")


class _One:
    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._stage: SimStage | None = None
        self._play: Play | None = None
        self.seconds = 0.0

    async def main(self) -> list[Broken]:
        stage = self._stage = SimStage(self._scenario)
        play = self._play = Play(self._scenario, stage, running_loop().streams.stream)
        async with stage.world:
            stage.begin_run()
            try:
                return await play.run()
            finally:
                self.seconds = stage.now()

    def told(self, seed: int, broken: list[Broken], tape: Tape) -> Told:
        stage = self._stage
        seen = Evidence() if stage is None else stage.seen
        verdict = Verdict(
            scenario=self._scenario.name,
            seed=seed,
            passed=not broken,
            broken=tuple(broken),
            counts=counted(seen),
            digest="" if stage is None else stage.world.digest,
            recovered=None if self._play is None else recovered(seen, self._play.eventually),
            bites=tuple(seen.bites),
            seconds=self.seconds,
        )
        trees = dict(seen.moments[-1].trees) if seen.moments else {}
        return Told(verdict, seen, tape, None if stage is None else stage.world.trace, trees)
