"""One member of a fleet: `forebay run` as a process with a data folder, a configuration and a log of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import yaml
from anyio import to_thread

from forebay.scenarios.fleet.log_reader import Happening, LogReader
from forebay.scenarios.servers.process import LOOK, Process, launch

START: Final = 90.0
"""Seconds that a member may take until its doors are open."""
STOP: Final = 45.0
PATIENCE: Final = 5.0
_DOOR: Final = re.compile(r"^(gate|console) +(\S+)$", re.MULTILINE)


class MemberFailed(Exception):
    """A member did not start, or not stop. The message holds the end of its log."""


class Member:
    """One process after another on the same data folder; each may open its doors on other ports."""

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], environ: Mapping[str, str], options: Sequence[str] = ()
    ) -> None:
        """`settings` are the configuration but for `data`, which is a folder below `folder`; `options` the command's."""
        self.name = folder.name
        self.log = folder / "log.txt"
        self._folder = folder
        self._config = folder / "forebay.yaml"
        self._environ = {**os.environ, **environ}
        self._options = options
        self._reader = LogReader(self.log)
        self._process: Process | None = None
        self._begins = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text(yaml.safe_dump({"data": str(folder / "data"), **settings}))

    # --- its life

    def launch(self) -> None:
        """Start a process and do not wait for it; the kernel kills it when the thread that called this ends."""
        self._begins = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, "-m", "forebay", "run", *self._options, str(self._config)]
        self._process = launch(command, self._environ, self.log, detached=False)

    async def ready(self) -> None:
        """Wait until its console listens. Raises `MemberFailed`."""
        with anyio.move_on_after(START):
            while self.console is None:
                if not self.alive:
                    raise MemberFailed(f"{self.name} ended while it started; its last words:\n{self.last_words()}")
                await anyio.sleep(LOOK)
            return
        raise MemberFailed(f"{self.name} has not opened its console after {START:.0f} s:\n{self.last_words()}")

    async def start(self) -> None:
        """Start a process and wait until it is there."""
        self.launch()
        await self.ready()

    @property
    def alive(self) -> bool:
        """Whether its process is there, frozen or not."""
        return self._process is not None and self._process.alive

    @property
    def serving(self) -> bool:
        """Whether its process runs and is not frozen."""
        return self._process is not None and self._process.state not in {"", "T", "t"}

    async def kill(self) -> None:
        """End it with KILL, and wait until it is gone."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> None:
        """Ask it to stop in order (TERM), and wait. Raises `MemberFailed` if it takes more than `STOP` seconds."""
        await self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Freeze it (STOP)."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (CONT)."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send(number)

    async def _end(self, number: signal.Signals) -> None:
        self._send(number)
        self._send(signal.SIGCONT)
        if self._process is not None and not await self._process.ended(STOP):
            raise MemberFailed(f"{self.name} has not ended {STOP:.0f} s after {number.name}:\n{self.last_words()}")

    # --- what it shows

    @property
    def gate(self) -> str | None:
        """Where this process takes jobs; None before it does, or without a gate."""
        return self._door("gate")

    @property
    def console(self) -> str | None:
        """Where this process shows itself."""
        return self._door("console")

    def _door(self, name: str) -> str | None:
        if not self.log.exists():
            return None
        with self.log.open("rb") as file:
            file.seek(self._begins)
            return dict(_DOOR.findall(file.read(64 * 1024).decode(errors="replace"))).get(name)

    def happenings(self) -> list[Happening]:
        """Everything that its processes have logged, oldest first."""
        return self._reader.all()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3_000:] if self.log.exists() else "(nothing)"

    async def ask(self, path: str) -> Any:
        """Return what its console answers to a GET, decoded. Raises `OSError` or `HTTPException` if that is nothing."""
        return await to_thread.run_sync(self._ask, path)

    def _ask(self, path: str) -> Any:
        place = urlsplit(self.console or "")
        connection = HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()
