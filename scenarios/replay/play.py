"""A scenario played on a stage: posts and faults in their time, then the healing, then the time to recover.

It knows nothing of simulations: time is the running loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

from attrs import evolve

from forebay.scenarios.replay.evidence import Bite
from forebay.scenarios.replay.plan import Draws, Stroke, plan
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.replay.sightings import event_matches
from forebay.scenarios.replay.stage import Stage
from forebay.scenarios.replay.verbs import VERBS
from forebay.scenarios.replay.verdict import Always, Broken, Eventually, judge
from forebay.scenarios.replay.workload import jobs_of

T = TypeVar("T")

TICK: Final = 1.0
"""Seconds between two looks at the system."""

INSTANT: Final = 1e-6
"""Seconds that count as none: so short a sleep could end at the time at which it began."""

STEADY: Final = 10.0
"""Seconds for which everything must hold before a run ends ahead of its time."""

REACTION: Final = 0.01
"""Seconds within which an event is noticed that a fault waits for."""


class _Enough(Exception):
    """What was looked for has been seen."""


class Play:
    """One run. `always` and `eventually` know afterwards what held.

    `until` names checks (`group name`, as `Verdict.names` has them): the run ends when one of them that is to hold always
    does not. Nobody who looks for it need see the rest.
    """

    def __init__(self, scenario: Scenario, stage: Stage, draws: Draws, until: frozenset[str] = frozenset()) -> None:
        self._until = until
        self.always = Always(scenario.invariants.always)
        self.eventually = Eventually(scenario.invariants.eventually)
        self._scenario = scenario
        self._stage = stage
        self._jobs = jobs_of(scenario, draws)
        self._faults = _Faults(stage, plan(scenario, draws))
        self._began = 0.0

    async def run(self) -> list[Broken]:
        """Play it to the end; return everything that did not hold."""
        try:
            return await self._run()
        except _Enough:
            return self.always.broken

    async def _run(self) -> list[Broken]:
        self._began = asyncio.get_running_loop().time()
        posting = asyncio.create_task(self._post(), name="posts")
        faults = self._faults.tasks(self._began)
        try:
            await self._watch_until(self._scenario.phases.chaos, steady=False)
        finally:
            await _cancelled(faults)
        _raise_first(faults)
        self._stage.seen.missed = self._faults.missed
        await self._faults.end_all()
        await self._stage.heal()
        self._stage.seen.healed = self._now()
        await posting
        await self._watch_until(self._now() + self._scenario.phases.converge, steady=True)
        return judge(self._scenario, self._stage.seen, self.always, self.eventually)

    async def _post(self) -> None:
        posts: list[asyncio.Task[None]] = []
        for job in self._jobs:
            await asyncio.sleep(max(0.0, job.at - self._now()))
            posts.append(asyncio.create_task(self._stage.post(job), name=f"post {job.id}"))
        for post in posts:
            await post

    async def _watch_until(self, end: float, *, steady: bool) -> None:
        while (left := end - self._now()) > INSTANT:
            await asyncio.sleep(min(TICK, left))
            seen = self._stage.seen
            seen.moments.append(evolve(await self._stage.look(), at=self._now()))
            self.always.look(seen)
            if any(f"always {one.name}" in self._until for one in self.always.broken):
                raise _Enough
            if steady and self.eventually.look(seen) and seen.now - (self.eventually.since or 0.0) >= STEADY:
                return

    def _now(self) -> float:
        """Seconds since the run began."""
        return asyncio.get_running_loop().time() - self._began


class _Faults:
    """The strokes of a run. What several strokes hold down is up again when the last of them ends; where each holds it in a
    measure of its own (`by`, `share`, `memory`), the newest of those in force rules.
    """

    def __init__(self, stage: Stage, strokes: Iterable[Stroke]) -> None:
        self._stage = stage
        self._strokes = tuple(strokes)
        self._in_force: dict[int, int] = {}
        self._due: set[int] = set()
        self._begun: set[int] = set()
        self._acting: list[asyncio.Task[Any]] = []
        self._began = 0.0

    @property
    def missed(self) -> list[str]:
        """The ids of those whose event did not come, or too late for them to take place."""
        return sorted({s.id for number, s in enumerate(self._strokes) if s.when and number not in self._due})

    def tasks(self, began: float) -> list[asyncio.Task[None]]:
        """One task for each stroke."""
        self._began = began
        return [asyncio.create_task(self._do(number), name=f"fault {s.id}") for number, s in enumerate(self._strokes)]

    async def end_all(self) -> None:
        """Undo everything that is in force. What still comes about may wait for that: a host that stands still stops only
        once it may go on.
        """
        for number in [number for number in self._in_force if number in self._begun]:
            await self._end(number)
        if self._acting:
            await asyncio.wait(self._acting)
        _raise_first(self._acting)
        for number in list(self._in_force):
            await self._end(number)

    async def _do(self, number: int) -> None:
        stroke = self._strokes[number]
        await self._moment_of(stroke)
        self._due.add(number)
        bites = self._stage.seen.bites
        bites.append(Bite(stroke.id, stroke.do, stroke.args, self._now()))
        place = len(bites) - 1
        if VERBS[stroke.do].end is not None:
            self._in_force[number] = place
        bit = await self._whole(self._stage.begin(stroke))
        self._begun.add(number)
        bites[place] = evolve(bites[place], bit=bit)
        if stroke.lasts is not None:
            await asyncio.sleep(stroke.lasts)
            await self._end(number)

    async def _end(self, number: int) -> None:
        stroke, place = self._strokes[number], self._in_force.pop(number)
        others = [other for other in map(self._strokes.__getitem__, self._in_force) if _held(other) == _held(stroke)]
        if not others:
            await self._whole(self._stage.end(stroke))
        elif _has_measure(stroke):
            await self._whole(self._stage.begin(others[-1]))
        bites = self._stage.seen.bites
        bites[place] = evolve(bites[place], until=self._now())

    async def _whole(self, act: Coroutine[Any, Any, T]) -> T:
        """Do something that is not broken off when the chaos is over: half a stop would be no fault of the system's."""
        task = asyncio.create_task(act)
        self._acting.append(task)
        await asyncio.wait([task])
        return task.result()

    async def _moment_of(self, stroke: Stroke) -> None:
        if stroke.at is not None:
            await asyncio.sleep(max(0.0, stroke.at - self._now()))
            return
        assert stroke.when is not None
        seen = self._stage.seen
        looked = matches = 0
        while matches < stroke.when.nth:
            new, looked = seen.events[looked:], len(seen.events)
            matches += sum(event_matches(stroke.when, host, event) for host, event in new)
            if matches < stroke.when.nth:
                await asyncio.sleep(REACTION)
        await asyncio.sleep(stroke.after)

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._began


def _held(stroke: Stroke) -> tuple[object, ...]:
    """What it holds, however it does that and in whatever measure: what is undone in one way at one place."""
    verb = VERBS[stroke.do]
    return (verb.end, *(value for name, value in stroke.args.items() if verb.args[name].names))


def _has_measure(stroke: Stroke) -> bool:
    return any(not argument.names for argument in VERBS[stroke.do].args.values())


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _raise_first(tasks: list[asyncio.Task[Any]]) -> None:
    """A fault that could not be done is an error of the run, and none of the system's."""
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
