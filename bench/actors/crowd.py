"""Many supervised actors alive at once: what each costs in memory and in time to start."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from time import perf_counter

from attrs import frozen
from contestants.forebay_actor import Counter
from figures import check

from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, Strategy, SupervisorSpec

ACTORS = 100_000


@frozen
class Crowd:
    """Per actor: bytes of resident memory, microseconds. `alive` is how many answered an ask when all had started."""

    alive: int
    bytes_each: float
    start: float
    start_later: float
    stop: float
    task_bytes: float
    task_start: float


async def measure(actors: int = ACTORS) -> Crowd:
    """Start `actors` with the tree, ask each of them once, start a tenth as many more while it runs, stop them all."""
    task_bytes, task_start = await _bare_tasks(actors)
    children = tuple(ChildSpec(f"counter-{number}", Counter) for number in range(actors))
    runtime = Runtime(SupervisorSpec(Strategy.DYNAMIC, children))
    before, began = _resident(), perf_counter()
    await runtime.start()
    start = perf_counter() - began
    paths = [node.path for node in runtime.tree().children]
    alive = sum([await runtime.ref(path).ask(0, 5.0) for path in paths])
    check(alive, actors)
    memory = _resident() - before

    supervisor, more = runtime.supervisor(), actors // 10
    began = perf_counter()
    for number in range(more):
        await supervisor.start_child(ChildSpec(f"later-{number}", Counter))
    start_later = perf_counter() - began

    began = perf_counter()
    await runtime.stop(grace=600.0)
    stop = perf_counter() - began
    return Crowd(
        alive=alive,
        bytes_each=memory / actors,
        start=start / actors * 1e6,
        start_later=start_later / more * 1e6,
        stop=stop / (actors + more) * 1e6,
        task_bytes=task_bytes,
        task_start=task_start,
    )


async def _bare_tasks(number: int) -> tuple[float, float]:
    """Bytes and microseconds of a bare task that waits for a future: the floor under an actor."""
    loop = asyncio.get_running_loop()

    async def wait(future: asyncio.Future[None]) -> None:
        await future

    before, began = _resident(), perf_counter()
    futures: list[asyncio.Future[None]] = [loop.create_future() for _ in range(number)]
    tasks = [loop.create_task(wait(future)) for future in futures]
    await asyncio.sleep(0)
    took, memory = perf_counter() - began, _resident() - before
    for future in futures:
        future.set_result(None)
    await asyncio.gather(*tasks)
    return memory / number, took / number * 1e6


def _resident() -> int:
    """Bytes of this process in memory, after a collection."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
