"""Where the relay's time goes: part of a lap under cProfile, each function's own time given to the part that it belongs to.

The profiler charges for calls, so parts of many small Python functions look larger than they are. What a built-in takes is
given to who called it.
"""

from __future__ import annotations

import pstats
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stage import Stage, running, wait_for

PROFILED: Final = Path(__file__).with_name("profiled.py")
PARTS: Final = (
    ("jobs out of records", ("/jobs/", "/relay/detour.py", "/relay/partition_consumer.py")),
    ("records out of Kafka's answers", ("/backends/kafka/unpack.py", "/backends/kafka/batch.py", "/aiokafka/record/")),
    ("talking to Kafka", ("/backends/kafka/", "/aiokafka/")),
    ("jobs to Redis' words", ("/backends/redis/codec.py", "/backends/redis/queue.py", "/relay/range_writer.py")),
    ("talking to Redis", ("/backends/redis/", "/redis/")),
    ("values (attrs)", ("attrs generated",)),
    ("actors and their messages", ("/actors/", "/supervisors/")),
    ("asyncio", ("/asyncio/", "select.epoll", "_socket.socket")),
)
"""A function belongs to the first part that one of its file's marks names."""
REST: Final = "the rest"
BEGIN, END = 0.1, 0.3
"""Which part of the jobs is enough: the profiler makes it slow."""
IDLE: Final = ("select.epoll", "'poll'")


def parts(stage: Stage) -> Mapping[str, float]:
    """The share of each part in the time that the process was busy, largest first."""
    stage.empty_queue()
    output = stage.folder / "profile"
    command = [sys.executable, str(PROFILED), str(stage.configure("profiled")), str(output)]
    with running(command, stage.folder / "profiled.log") as child:
        wait_for(lambda: stage.relayed() >= stage.jobs * BEGIN, "the jobs before the profile", child)
        child.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: stage.relayed() >= stage.jobs * END, "the jobs of the profile", child)
        child.stop()
    times: Counter[str] = Counter()
    stats: dict[Any, Any] = pstats.Stats(str(output)).stats  # type: ignore[attr-defined]
    for function, (_, _, own, _, callers) in stats.items():
        if function[0] != "~":
            times[_part(function)] += own
        elif not all(mark in function[2] for mark in IDLE):
            for caller, (_, _, spent, _) in callers.items():
                times[_part(caller)] += spent
    whole = sum(times.values())
    return {part: spent / whole for part, spent in times.most_common()}


def _part(function: tuple[str, int, str]) -> str:
    where = f"{function[0]} {function[2]}"
    return next((part for part, marks in PARTS if any(mark in where for mark in marks)), REST)
