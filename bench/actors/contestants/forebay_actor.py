"""forebay: a supervised actor at default settings; the sender waits for room (`send`)."""

import asyncio
from collections.abc import Awaitable

from figures import Figures, Sizes, measure_async

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, SupervisorSpec


class Counter(Actor[int]):
    def __init__(self) -> None:
        self.count = 0

    async def on_message(self, ctx: Context, message: int) -> None:  # noqa: ARG002 - the work is to count
        self.count += 1
        ctx.reply(self.count)


async def _run(sizes: Sizes) -> Figures:
    async with Runtime(SupervisorSpec(children=(ChildSpec("counter", Counter),))) as runtime:
        ref = runtime.ref("/counter")

        def ask(message: int) -> Awaitable[int]:
            return ref.ask(message, 5.0)

        return await measure_async(ref.send, ask, sizes)


def run(sizes: Sizes) -> Figures:
    return asyncio.run(_run(sizes))
