"""A server's program as it can be started here, and the error that says why it cannot be had."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import field, frozen

TAIL: Final = 800
"""Characters of a failed command's output that go into the error."""


class CannotGet(Exception):
    """A server cannot be had on this machine. The message says what is missing and how to get it."""


@frozen
class Program:
    """How a server is started: the command before its own arguments, what it adds to the environment, its version."""

    command: tuple[str, ...]
    version: str
    environ: Mapping[str, str] = field(factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of the process."""
        return {**os.environ, **self.environ}


def output_of(what: str, command: Sequence[str], advice: str, environ: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed. Raises `CannotGet` if it is not there or fails."""
    try:
        run = subprocess.run(  # noqa: S603 - callers name the programs; no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={**os.environ, **(environ or {})},
        )
    except OSError as error:
        raise CannotGet(f"{what}: {error}; {advice}") from error
    if run.returncode != 0:
        raise CannotGet(f"{what}: `{' '.join(command)}` ended with {run.returncode}; {advice}\n{run.stdout[-TAIL:].strip()}")
    return run.stdout
