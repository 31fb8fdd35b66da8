"""`forebay run` as a process of its own, for tests that signal it, kill it, or talk to it from outside."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

FOREBAY = [sys.executable, "-m", "forebay"]
PATIENCE = 60.0


def forebay(*arguments: str | Path, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*FOREBAY, *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def wait_until(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Return once the condition holds; fail with `what` after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {what}"
        time.sleep(0.005)


class Running:
    """A `forebay run CONFIG` in `folder`; what it says goes to two files there."""

    def __init__(self, folder: Path, config: str = "forebay.yaml", *options: str, **environ: str) -> None:
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [*FOREBAY, "run", config, *options],
                cwd=folder,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def gate_url(self) -> str:
        """Where its gate listens, once it says so. Raises `ConnectionError` if it ends before that."""
        wait_until(lambda: self._gate() or self.process.poll() is not None, "the runtime is up")
        if (url := self._gate()) is None:
            raise ConnectionError(f"it ended with {self.process.returncode}: {self.err.read_text()}")
        return url

    def _gate(self) -> str | None:
        found = re.search(r"^gate +(\S+)\n", self.out.read_text(), re.MULTILINE)
        return found[1] if found else None

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for it to end; return its exit code."""
        return self.process.wait(PATIENCE)

    def terminate(self) -> int:
        """Ask it to stop in order; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.end()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        self.process.wait()
