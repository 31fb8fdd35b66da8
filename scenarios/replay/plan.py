"""What one seed makes of a scenario: which faults take place, when, and with which arguments. Nothing is left to draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from attrs import evolve, frozen

from forebay.scenarios.replay.amounts import Fixed
from forebay.scenarios.replay.schema import Fault, Scenario, When

Draws = Callable[[str], Random]
"""A random stream by name, like `Streams.stream`."""


@frozen
class Stroke:
    """One time that a fault happens: at `at`, or `after` the event `when`; undone `lasts` later, or with the healing."""

    id: str
    do: str
    args: Mapping[str, Any]
    at: float | None
    when: When | None
    after: float
    lasts: float | None


def plan(scenario: Scenario, draws: Draws) -> tuple[Stroke, ...]:
    """Every stroke of every fault, those with a time first and in its order.

    Each fault draws from a stream of its own id: taking one out of a scenario changes no other.
    """
    strokes = [stroke for fault in scenario.faults for stroke in _strokes(fault, draws(f"fault:{fault.id}"))]
    return tuple(sorted(strokes, key=lambda stroke: (stroke.at is None, stroke.at or 0.0)))


def pinned(scenario: Scenario, draws: Draws) -> Scenario:
    """The scenario with each fault as the seed of `draws` has it: those that do not happen are gone, nothing is a range.

    One that happens several times becomes several, with `-1`, `-2` ... behind the id.
    """
    faults: list[Fault] = []
    for fault in scenario.faults:
        strokes = list(_strokes(fault, draws(f"fault:{fault.id}")))
        for number, stroke in enumerate(strokes, 1):
            faults.append(_fixed(fault, stroke, f"{fault.id}-{number}" if len(strokes) > 1 else fault.id))
    return evolve(scenario, faults=tuple(faults))


def _strokes(fault: Fault, random: Random) -> list[Stroke]:
    chance = fault.chance.draw(random)
    times = fault.times.draw(random)
    happens = random.random() < chance
    return [_stroke(fault, random) for _ in range(times if happens else 0)]


def _stroke(fault: Fault, random: Random) -> Stroke:
    return Stroke(
        id=fault.id,
        do=fault.do,
        args={name: amount.draw(random) for name, amount in fault.args.items()},
        at=None if fault.at is None else fault.at.draw(random),
        when=fault.when,
        after=fault.after.draw(random),
        lasts=None if fault.lasts is None else fault.lasts.draw(random),
    )


def _fixed(fault: Fault, stroke: Stroke, id_: str) -> Fault:
    return Fault(
        id=id_,
        do=fault.do,
        at=None if stroke.at is None else Fixed(stroke.at),
        when=fault.when,
        after=Fixed(stroke.after),
        lasts=None if stroke.lasts is None else Fixed(stroke.lasts),
        args={name: Fixed(value) for name, value in stroke.args.items()},
    )
