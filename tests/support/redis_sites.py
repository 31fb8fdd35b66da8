"""A Redis of the test's own, on a free port of the loopback interface, with an append-only file in the test's folder."""

import asyncio
import socket
import subprocess
import time
from contextlib import asynccontextmanager, suppress
from random import Random

from support.services import require

from forebay.backends.errors import Unavailable
from forebay.backends.redis import RedisQueue

HOST = "127.0.0.1"


class RealClock:
    """The clock that a server on the same machine has."""

    def monotonic(self):
        return time.monotonic()

    def wall(self):
        return time.time_ns() // 1_000_000


class RedisProcess:
    """One redis-server; `kill` and `launch` may be called in turns, the data stay."""

    def __init__(self, folder, *options):
        self.program = require("redis")
        self.folder, self.options = folder, options
        self.process = None
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]

    @property
    def url(self):
        return f"redis://{HOST}:{self.port}"

    async def launch(self):
        words = ["--port", self.port, "--bind", HOST, "--dir", self.folder, "--save", "", "--appendonly", "yes"]
        words += ["--appendfsync", "no", *self.options]
        quiet = subprocess.DEVNULL
        command = [*self.program.command, *map(str, words)]
        self.process = subprocess.Popen(command, env=self.program.environment, stdout=quiet, stderr=quiet)

    async def kill(self):
        self.process.kill()
        self.process.wait(10)


async def open_queue(url, clock=None, patience=10.0):
    """A started queue, as soon as the server answers."""
    queue = RedisQueue(url, Random(7), clock)
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        with suppress(Unavailable):
            await queue.start()
            return queue
        await asyncio.sleep(0.02)
    raise TimeoutError(f"no answer from {url}")


@asynccontextmanager
async def redis_process(folder, *options):
    server = RedisProcess(folder, *options)
    await server.launch()
    try:
        yield server
    finally:
        await server.kill()
