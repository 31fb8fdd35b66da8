"""The data folder of an embedded runtime: one lock, one file per store."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from forebay.backends.errors import DataFolderInUse, Full, Unavailable
from forebay.backends.ports import Clock
from forebay.backends.sqlite.coordination import SqliteCoordination
from forebay.backends.sqlite.log import SqliteLog
from forebay.backends.sqlite.queue import SqliteQueue

_QUEUE_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class FolderLock:
    """The right to use a data folder, held by at most one process. The kernel gives it back when
    the process ends.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder if need be and lock it. Raises `DataFolderInUse`, `Unavailable`; nothing is held then."""
        path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _refused(path, error, "make the data folder writable") from error
        with ExitStack() as undo:
            undo.callback(self.release)  # or this process would hold the folder against its own next try
            self._lock(folder, path)
            self._sign(path)
            undo.pop_all()

    def _lock(self, folder: Path, path: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderInUse(
                f"{folder} is in use by process {self._holder()}; stop that process or choose another data folder"
            ) from None
        except OSError as error:
            raise _refused(
                path, error, "it cannot be locked there: choose a data folder on a disk of this machine"
            ) from error

    def _holder(self) -> str:
        with suppress(OSError):
            return os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
        return "unknown"

    def _sign(self, path: Path) -> None:
        """Say who holds the folder."""
        try:
            os.ftruncate(self._file, 0)
            os.write(self._file, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise _refused(path, error, "check the disk of the data folder") from error

    def release(self) -> None:
        """Let another process have the folder. The file stays: removing it would let two lock
        different files.
        """
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _refused(path: Path, error: OSError, advice: str) -> Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Full(f"{path}: {error.strerror}; free some space, then start again")
    return Unavailable(f"{path}: {error.strerror}; {advice}")


class Embedded:
    """Hands out the adapters of one data folder, each the same object every time, not yet started.

    As an async context manager it stops, at the end, whatever was handed out, and lets the folder
    go.
    """

    def __init__(self, data: Path, clock: Clock, random: Random) -> None:
        """Lock the folder. Raises `DataFolderInUse`, `Unavailable`."""
        self._lock = FolderLock(data)
        self._data = data
        self._clock = clock
        self._random = random
        self._log: SqliteLog | None = None
        self._coordination: SqliteCoordination | None = None
        self._queues: dict[str, SqliteQueue] = {}

    @property
    def log(self) -> SqliteLog:
        """The log, in `log.db`."""
        if self._log is None:
            self._log = SqliteLog(self._data / "log.db", self._clock)
        return self._log

    @property
    def coordination(self) -> SqliteCoordination:
        """Coordination, in `coordination.db`."""
        if self._coordination is None:
            path = self._data / "coordination.db"
            self._coordination = SqliteCoordination(path, self._clock, self._random)
        return self._coordination

    def queue(self, name: str) -> SqliteQueue:
        """The queue of this name, in `queue-<name>.db`. Raises `ValueError` for a name that makes
        no file name.
        """
        if not _QUEUE_NAME.fullmatch(name):
            raise ValueError(f"queue name {name!r}: use 1 to 100 letters, digits, '.', '_' or '-'")
        if name not in self._queues:
            path = self._data / f"queue-{name}.db"
            self._queues[name] = SqliteQueue(path, self._clock, self._random)
        return self._queues[name]

    async def stop(self) -> None:
        """Stop what was handed out, the log last, and let the folder go. May be called again."""
        if self._coordination is not None:
            await self._coordination.stop()
        for queue in self._queues.values():
            await queue.stop()
        if self._log is not None:
            await self._log.stop()
        self._lock.release()

    async def __aenter__(self) -> Self:
        """The object itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()


def open_embedded(data: Path, clock: Clock, random: Random) -> Embedded:
    """Lock the data folder and return its adapters. Raises `DataFolderInUse`, `Unavailable`."""
    return Embedded(data, clock, random)
