"""Where everything is measured: real servers, a topic full of jobs, and `forebay run` on them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from redis import Redis

from forebay.scenarios.servers import Servers

TOPIC: Final = "bench"
PARTITIONS: Final = 8
KEYS: Final = f"forebay:{{{TOPIC}}}:"
PATIENCE: Final = 120.0
"""Seconds within which everything that is waited for happens; else the benchmark has failed."""

STOPPED: Final = (0, 3)
"""Exit codes of `forebay run` after a stop: in order, and when an actor had to be cancelled."""

CONFIG: Final = """\
data: {data}
log: {{url: "{kafka}"}}
coordination: {{url: "{consul}"}}
queues: {{main: {{url: "{redis}"}}}}
topics: [{{name: {topic}, partitions: {partitions}, rate: 10000000/s}}]
gate: false
workers: false
console: false
"""


class Failed(Exception):
    """A measurement went wrong; there is no figure."""


@frozen
class Stage:
    """Running servers, and a folder for what processes need. `jobs` is how many the topic holds."""

    servers: Servers
    folder: Path
    jobs: int
    redis: Redis = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "redis", Redis.from_url(self.servers.redis.other.url))

    def empty_queue(self) -> None:
        """Let Redis forget everything, also in its file, so that no rewriting of that falls into a measurement."""
        self.redis.config_set("auto-aof-rewrite-percentage", 0)
        self.redis.flushall()
        self.redis.bgrewriteaof()
        wait_for(lambda: not self.redis.info("persistence")["aof_rewrite_in_progress"], "the rewriting of Redis' file")

    def relayed(self) -> int:
        """How many records the relay is past, by the queue's own marks."""
        marks: list[Any] = self.redis.hvals(f"{KEYS}marks")
        return sum(map(int, marks))

    def token(self) -> list[Any]:
        """The fencing token of the term that writes."""
        token: list[Any] = self.redis.hmget(f"{KEYS}fence", "generation", "index")
        return token

    def configure(self, name: str) -> Path:
        """Write the configuration of a process, whose data are in a folder of its own; return its path."""
        data, servers = self.folder / name, self.servers
        data.mkdir(exist_ok=True)
        urls = {"kafka": servers.kafka.url, "consul": servers.consul.url, "redis": servers.redis.other.url}
        config = data / "forebay.yaml"
        config.write_text(CONFIG.format(data=data, topic=TOPIC, partitions=PARTITIONS, **urls))
        return config

    @contextmanager
    def relay(self, name: str = "a") -> Iterator[Child]:
        """`forebay run` as a process, killed at the end unless it has ended."""
        config = self.configure(name)
        with running([sys.executable, "-m", "forebay", "run", str(config)], config.with_name("output.log")) as child:
            yield child


@frozen
class Child:
    """A process that was started here, and the file that its output goes to."""

    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        """Ask it to stop, and wait until it has. Raises `Failed` unless its code is one of `STOPPED`."""
        self.process.terminate()
        if self.process.wait(PATIENCE) not in STOPPED:
            raise self.failed("it was asked to stop")

    def failed(self, before: str) -> Failed:
        """The error that says how it ended and what it said last."""
        words = self.log.read_text(errors="replace").strip().splitlines()[-3:]
        return Failed(
            f"{self.process.args} ended with {self.process.returncode}: {before}; it said last: {' | '.join(words)}"
        )


@contextmanager
def running(command: list[str], log: Path) -> Iterator[Child]:
    """A process whose output goes into a file; it is killed at the end unless it has ended."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield Child(process, log)
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], what: str, child: Child | None = None) -> float:
    """Look every 2 ms; return when it was first seen. Raises `Failed` if it does not come in time, or `child` ends."""
    deadline = time.perf_counter() + PATIENCE
    while not condition():
        if time.perf_counter() > deadline:
            raise Failed(f"waited {PATIENCE:.0f} s in vain for {what}")
        if child is not None and child.process.poll() is not None:
            raise child.failed(f"waited for {what}")
        time.sleep(0.002)
    return time.perf_counter()


def cpu_seconds(*pids: int) -> float:
    """User and system time of processes so far, by the kernel's account."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def servers_in(folder: Path, programs: dict[str, Any], *, keep: bool) -> Iterator[Servers]:
    """All servers, started; stopped at the end unless they are to be kept."""
    servers = Servers(folder, programs, detached=keep)
    try:
        asyncio.run(servers.start())
        yield servers
    finally:
        if not keep:
            asyncio.run(servers.stop(0))
