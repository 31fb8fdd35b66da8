"""A bare asyncio.Queue and a task that reads it: no supervisor, no handler call, no time-out."""

import asyncio

from figures import CAPACITY, Figures, Sizes, measure_async

Item = int | asyncio.Future[int]


async def _read(queue: asyncio.Queue[Item]) -> None:
    count = 0
    while True:
        item = await queue.get()
        count += 1
        if not isinstance(item, int):
            item.set_result(count)


async def _run(sizes: Sizes) -> Figures:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Item] = asyncio.Queue(CAPACITY)
    reader = loop.create_task(_read(queue))

    async def ask(message: int) -> int:  # noqa: ARG001 - the same call as the others'
        reply: asyncio.Future[int] = loop.create_future()
        await queue.put(reply)
        return await reply

    try:
        return await measure_async(queue.put, ask, sizes)
    finally:
        reader.cancel()


def run(sizes: Sizes) -> Figures:
    return asyncio.run(_run(sizes))
