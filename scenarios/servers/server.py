"""One server process: start, stop, kill, pause, restart, wipe."""

from __future__ import annotations

import shutil
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

import anyio

from forebay.scenarios.servers.ports import HOST
from forebay.scenarios.servers.process import Process, launch
from forebay.scenarios.servers.program import Program
from forebay.scenarios.servers.state import State

START: Final = 60.0
"""Seconds that a server may take until it answers."""
STOP: Final = 15.0
"""Seconds that a server may take to stop when asked; then it is killed."""
LOOK: Final = 0.05
STILL: Final = 1000  # looks, each a millisecond after the last, until a process that was told to stop has stopped
LOG: Final = "output.log"
TAIL: Final = 1_000
"""Characters of a server's log that go into an error."""


class ServerFailed(Exception):
    """A server did not start, or did not answer in time. The message holds the end of its log and names the file."""


class Server(ABC):
    """A process with a port on 127.0.0.1 and a folder for its data and its log.

    Faults can be put in at any time: `kill`, `terminate`, `pause`, `resume`. Data survive them, and `restart`; only `wipe`
    removes them.
    """

    def __init__(self, name: str, program: Program, state: State, *, detached: bool) -> None:
        self.name = name
        self.program = program
        self.folder = state.folder / name
        self._state = state
        self._detached = detached

    @property
    def port(self) -> int:
        """Its TCP port, the same for the life of the data folder."""
        return self._state.port(self.name)

    @property
    def address(self) -> str:
        """`127.0.0.1:<port>`."""
        return f"{HOST}:{self.port}"

    @property
    def process(self) -> Process | None:
        """Its process; None if none is alive."""
        return self._state.process(self.name)

    @property
    def log(self) -> Path:
        """The file that its output goes to."""
        return self.folder / LOG

    @abstractmethod
    def command(self) -> list[str]:
        """What to run; its data are below `folder`."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether it does its work now. Never raises for a server that is down."""

    @abstractmethod
    async def prepare(self) -> None:
        """Make ready what must be in its folder before it starts."""

    async def start(self) -> None:
        """Start it unless it runs, and wait until it answers. Raises `ServerFailed`, `CannotGet`."""
        await self.launch()
        await self.ready()

    async def launch(self) -> None:
        """Start its process unless it runs, and do not wait for it."""
        if self.process is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.prepare()
        process = launch(self.command(), self.program.environment, self.log, detached=self._detached)
        self._state.started(self.name, process)

    async def ready(self) -> None:
        """Wait until it answers. Raises `ServerFailed` if it ends, or after `START` seconds; it is then left as it is."""
        with anyio.move_on_after(START):
            while not await self.answers():
                if self.process is None:
                    raise ServerFailed(f"{self.name} ended while it started; {self.last_words()}")
                await anyio.sleep(LOOK)
            return
        raise ServerFailed(f"{self.name} does not answer on {self.address} after {START:.0f} s; {self.last_words()}")

    async def stop(self, grace: float = STOP) -> None:
        """Ask it to stop, and kill it if it has not after `grace` seconds; 0 kills it at once."""
        if grace > 0:
            await self._end(signal.SIGTERM, grace)
        await self.kill()

    async def kill(self) -> None:
        """End it with KILL, and wait until it is gone."""
        await self._end(signal.SIGKILL, STOP)

    async def terminate(self) -> None:
        """Ask it to stop with TERM, and wait until it has. Raises `ServerFailed` if it does not within `STOP` seconds."""
        if not await self._end(signal.SIGTERM, STOP):
            raise ServerFailed(f"{self.name} has not stopped {STOP:.0f} s after TERM; {self.last_words()}")

    def pause(self) -> None:
        """Freeze it (STOP): its connections stay open and nothing is answered. Nothing happens if it is down."""
        self._signal(signal.SIGSTOP)
        for _ in range(STILL):  # the kernel stops it when it next looks: it may be in the midst of an answer
            if self.process is None or self.process.state in {"T", "t", ""}:
                return
            time.sleep(0.001)

    def resume(self) -> None:
        """Let it go on (CONT)."""
        self._signal(signal.SIGCONT)

    async def restart(self) -> None:
        """Stop it in order and start it with its data."""
        await self.stop()
        await self.start()

    async def wipe(self) -> None:
        """Kill it and remove its data, so that the next start is an empty server on the same port."""
        await self.kill()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _signal(self, number: signal.Signals) -> None:
        process = self.process
        if process is not None:
            process.send(number)

    async def _end(self, number: signal.Signals, seconds: float) -> bool:
        """Signal it and wait; True if it is gone. A paused one is continued, or it would not see the signal."""
        process = self.process
        if process is None:
            self._state.ended(self.name)
            return True
        process.send(number)
        process.send(signal.SIGCONT)
        if gone := await process.ended(seconds):
            self._state.ended(self.name)
        return gone

    def last_words(self) -> str:
        """The end of its log, for an error: the file itself may be gone with the run when that is read."""
        words = self.log.read_text(errors="replace")[-TAIL:].strip() if self.log.exists() else ""
        return f"the end of {self.log}:\n{words or '(empty)'}"
