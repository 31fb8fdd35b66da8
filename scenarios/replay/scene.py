"""What verbs act on: a simulated world, and how its handlers fare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, frozen

if TYPE_CHECKING:  # it needs Lua, and reading a scenario does not
    from forebay.scenarios.simulation.world import World


@define
class Downstream:
    """What the handlers call: each run that begins takes `slower` seconds longer; with `fails`, it ends with an error."""

    slower: float = 0.0
    fails: bool = False


@frozen
class Scene:
    """One system in a run."""

    world: World
    downstream: Downstream
