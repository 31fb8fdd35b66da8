"""Same seed, same run: in other processes, under other hash seeds, on another heap (F2).

As in trio's test of its scheduler, both directions are shown: the same program on a plain loop
does differ from process to process. Were it not so, the first half would prove nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial

import anyio

from forebay.scenarios.loop import run, running_loop
from forebay.scenarios.trace import Trace

Note = Callable[[str, int], None]


async def one_of_many(note: Note, number: int) -> None:
    try:
        with anyio.CancelScope():
            await anyio.sleep(3600)
    finally:
        note("cancelled", number)


async def cancel_a_group(note: Note) -> None:
    """anyio reaches the scopes of a cancelled group in the order of a set."""
    async with anyio.create_task_group() as group:
        for number in range(60):
            group.start_soon(one_of_many, note, number)
        await anyio.sleep(0.01)
        group.cancel_scope.cancel()


async def wait_for_a_set(note: Note) -> None:
    """`asyncio.wait` answers with a set, of tasks or of plain futures."""
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(20)]
    for future in futures:
        loop.call_later(0.01, future.set_result, None)
    tasks = [asyncio.create_task(asyncio.sleep(0.02)) for _ in range(20)]
    groups: dict[str, list[asyncio.Future[None]]] = {"future": futures, "task": [*tasks]}
    for kind, awaited in groups.items():
        done, _ = await asyncio.wait(awaited)
        for one in done:
            note(kind, awaited.index(one))


async def leave_generators(note: Note, kept: list[AsyncIterator[int]]) -> None:
    async def generator(number: int) -> AsyncIterator[int]:
        try:
            yield number
        finally:
            note("closed", number)

    for number in range(20):
        kept.append(generator(number))
        await anext(kept[-1])


async def workload(note: Note, kept: list[AsyncIterator[int]]) -> None:
    await cancel_a_group(note)
    await wait_for_a_set(note)
    await leave_generators(note, kept)


def shake_the_heap(seed: int) -> list[bytearray]:
    """Leave holes of many sizes, so that new objects get addresses out of order."""
    order = random.Random(seed)
    blocks = [bytearray(order.randrange(16, 900)) for _ in range(40_000)]
    order.shuffle(blocks)
    return blocks[:20_000]


def virtual_digest(seed: int = 5) -> str:
    async def main() -> None:
        trace.append(Trace(running_loop().time))
        await workload(note, kept)

    def note(event: str, number: int) -> None:
        trace[0].add("/workload", 1, event, number)

    trace: list[Trace] = []
    kept: list[AsyncIterator[int]] = []
    run(main, seed=seed, explore=True)
    return trace[0].digest


def plain_order() -> str:
    seen: list[str] = []
    kept: list[AsyncIterator[int]] = []
    asyncio.run(workload(lambda event, number: seen.append(f"{event}{number}"), kept))
    return ",".join(seen)


def in_a_process(hash_seed: int) -> tuple[str, str]:
    command = [sys.executable, __file__, str(hash_seed)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    virtual, plain = done.stdout.split()
    return virtual, plain


def test_one_digest_under_other_hash_seeds_and_heaps_where_a_plain_loop_differs() -> None:
    digests, orders = zip(*map(in_a_process, range(1, 5)), strict=True)
    assert set(digests) == {virtual_digest()}
    assert len(set(orders)) > 1


def test_another_seed_gives_another_digest() -> None:
    assert len({virtual_digest(seed) for seed in range(6)}) == 6


def test_earlier_runs_in_the_process_leave_no_mark() -> None:
    first = virtual_digest()
    asyncio.run(asyncio.sleep(0))
    run(partial(asyncio.sleep, 3), seed=9)
    assert virtual_digest() == first


if __name__ == "__main__":
    heap = shake_the_heap(int(sys.argv[1]))
    print(virtual_digest(), plain_order())
