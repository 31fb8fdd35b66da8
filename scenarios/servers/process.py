"""Processes that outlive the program that started them, and are found again without being mistaken for others (Linux)."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio
from attrs import frozen

from forebay.scenarios.servers.program import CannotGet

BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
LOOK: Final = 0.02
"""Seconds between two looks at a process whose end is awaited."""


@frozen
class Process:
    """A process by its id, the boot it belongs to and its start in ticks after that boot: never another one's."""

    pid: int
    started: str

    @property
    def state(self) -> str:
        """The kernel's letter: R, S or D (alive), T (stopped), Z (ending); empty if it has ended."""
        _reap(self.pid)
        letter, started = _look(self.pid)
        return letter if started == self.started else ""

    @property
    def alive(self) -> bool:
        """Whether it runs, or would if it were continued."""
        return self.state != ""

    def send(self, number: signal.Signals) -> bool:
        """Signal it; False if it has ended. A process that has taken its id since is never meant."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    async def ended(self, seconds: float) -> bool:
        """Wait for its end; False if it is alive after so many seconds."""
        with anyio.move_on_after(seconds):
            while self.alive:  # noqa: ASYNC110 - the end of a process that is no child of ours sends no event
                await anyio.sleep(LOOK)
        return not self.alive


def launch(command: Sequence[str], environ: Mapping[str, str], log: Path, *, detached: bool) -> Process:
    """Start a command with its output in a file. Raises `CannotGet` if the system lacks what that takes.

    Unless `detached`, the kernel kills the process when the thread that called this ends, however it ends (prctl(2),
    PR_SET_PDEATHSIG).
    """
    if not detached:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise CannotGet("no setpriv on PATH, which ties a server's life to ours; install util-linux")
        command = (setpriv, "--pdeathsig", "KILL", "--", *command)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        shutil.which(command[0]) or command[0],
        tuple(command),
        environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,  # Ctrl-C in the terminal is for us; what becomes of the servers is then ours to say
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores these, and that would be inherited
    )
    return Process(pid, _look(pid)[1])


def _look(pid: int) -> tuple[str, str]:
    """State and start of whatever has this id; see proc_pid_stat(5). The command's name may hold anything but is in ().

    A process whose first thread is through is a zombie already, but holds its ports until the last one is: it has not ended.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    fields = stat.rpartition(")")[2].split()
    letter, threads = fields[0], int(fields[17])
    return "" if letter == "X" or (letter == "Z" and threads <= 1) else letter, f"{BOOT.read_text().strip()}/{fields[19]}"


def _reap(pid: int) -> None:
    """Take the exit status if it is a child of ours that has ended, so that nothing of it is left."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
