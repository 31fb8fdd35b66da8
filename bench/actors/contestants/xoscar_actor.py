"""xoscar: an actor in the sender's process, by the reference that xoscar has for that. No mailbox and no bound: an ask runs
the method there and then, a tell makes it a task.
"""

import asyncio
from collections.abc import Awaitable

import xoscar
from figures import Figures, Sizes, measure_async


class Counter(xoscar.Actor):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def add(self, message: int) -> int:  # noqa: ARG002 - the work is to count
        self.count += 1
        return self.count


async def _run(sizes: Sizes) -> Figures:
    pool = await xoscar.create_actor_pool("127.0.0.1", n_process=0)
    try:
        await xoscar.create_actor(Counter, address=pool.external_address, uid="counter")
        # Not the reference that create_actor gives: that one goes through a channel, which costs far more.
        ref = await xoscar.actor_ref("counter", address=pool.external_address)

        def tell(message: int) -> Awaitable[object]:
            return ref.add.tell(message)

        def ask(message: int) -> Awaitable[int]:
            return ref.add(message)

        return await measure_async(tell, ask, sizes)
    finally:
        await pool.stop()


def run(sizes: Sizes) -> Figures:
    return asyncio.run(_run(sizes))
