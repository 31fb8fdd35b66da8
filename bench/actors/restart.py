"""What one restart costs: from the message that crashes an actor to the first answer of its next incarnation."""

from __future__ import annotations

from time import perf_counter

from attrs import frozen
from figures import check

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.config.values import Backoff, Intensity
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, Strategy, SupervisorSpec

RESTARTS = 2_000
GROUP = 10


class Crash(Exception):
    """What the message asks for."""


class Fragile(Actor[bool]):
    async def on_message(self, ctx: Context, message: bool) -> None:
        if message:
            raise Crash
        ctx.reply(ctx.incarnation)


@frozen
class Restarts:
    """Microseconds: one actor; and a group of ten of which the first crashes: nine are stopped, then ten started."""

    alone: float
    group: float


async def measure(restarts: int = RESTARTS) -> Restarts:
    """Crash an actor again and again; each crash is dealt with before the next."""
    return Restarts(
        alone=await _cost(Strategy.ONE_FOR_ONE, 1, restarts),
        group=await _cost(Strategy.ONE_FOR_ALL, GROUP, restarts // GROUP),
    )


async def _cost(strategy: Strategy, actors: int, restarts: int) -> float:
    tree = SupervisorSpec(
        strategy,
        tuple(ChildSpec(f"fragile-{number}", Fragile) for number in range(actors)),
        intensity=Intensity(max_restarts=restarts, period=3600.0),  # never used up
        backoff=Backoff(base=0.001, cap=0.001),
        stable_after=0.0,  # every restart is a first one, and those are immediate
    )
    async with Runtime(tree, deadline=300.0) as runtime:
        first, last = runtime.ref("/fragile-0"), runtime.ref(f"/fragile-{actors - 1}")
        began = perf_counter()
        for number in range(restarts):
            first.tell(True)
            incarnation = await first.ask(False, 5.0)
            check(incarnation, number + 2)
            check(await last.ask(False, 5.0), number + 2)
        return (perf_counter() - began) / restarts * 1e6
