"""What one seed makes of a scenario: which faults take place, when, and with which arguments. Nothing is left to draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from random import Random
from typing import Any, Final

from attrs import evolve, frozen

from forebay.scenarios.replay.amounts import Fixed
from forebay.scenarios.replay.schema import Fault, Scenario, When

LONGEST_ID: Final = 74
"""Characters of a fault's id that stay when it gets a number: the whole may have 80."""

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

    One that happens several times becomes several, with `-1`, `-2` ... behind the id, or the next number that is free.
    """
    faults: list[Fault] = []
    taken = {fault.id for fault in scenario.faults}
    for fault in scenario.faults:
        strokes = list(_strokes(fault, draws(f"fault:{fault.id}")))
        numbered = (id_ for id_ in (f"{fault.id[:LONGEST_ID]}-{number}" for number in count(1)) if id_ not in taken)
        for stroke in strokes:
            id_ = next(numbered) if len(strokes) > 1 else fault.id
            taken.add(id_)
            faults.append(_fixed(fault, stroke, id_))
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
