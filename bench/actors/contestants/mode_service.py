"""mode-streaming: a supervised service whose task reads a bounded asyncio.Queue (mode has no mailbox of its own)."""

import asyncio

import mode
from figures import CAPACITY, Figures, Sizes, measure_async
from mode.supervisors import OneForOneSupervisor

Item = int | asyncio.Future[int]


class Counter(mode.Service):
    def __post_init__(self) -> None:
        self.queue: asyncio.Queue[Item] = asyncio.Queue(CAPACITY)
        self.count = 0

    @mode.Service.task
    async def _read(self) -> None:
        while not self.should_stop:
            item = await self.queue.get()
            self.count += 1
            if not isinstance(item, int):
                item.set_result(self.count)

    async def ask(self, message: int) -> int:  # noqa: ARG002 - the same call as the others'
        reply: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        await self.queue.put(reply)
        return await reply


async def _run(sizes: Sizes) -> Figures:
    counter = Counter()
    async with OneForOneSupervisor(counter):
        return await measure_async(counter.queue.put, counter.ask, sizes)


def run(sizes: Sizes) -> Figures:
    return asyncio.run(_run(sizes))
