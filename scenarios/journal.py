"""What a process writes down about itself, so that others can check it after it was killed.

A line is one `write` to a file opened for appending, so lines of several processes and threads do not mix. What was
written is in the kernel's page cache and survives the death of the process, by SIGKILL too: no fsync is needed
against that. It does not survive the death of the machine, which nothing that uses a journal kills.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_SEAL: Final = "."


class Journal:
    """An append-only file of lines of words. A word holds no tab and no line break.

    A kill can cut a long line short; so each line ends with a seal, and a reader skips what has none. Every process
    that opens the file starts on a new line.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises `OSError`."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if os.fstat(self._file).st_size:
            self._write("\n")

    def note(self, *words: str) -> None:
        """Append one line. Raises `OSError` if the file system did not take the whole of it."""
        for word in words:
            if "\t" in word or "\n" in word:
                raise ValueError(f"a journal's word holds no tab and no line break: {word!r}")
        self._write("\t".join([*words, _SEAL]) + "\n")

    def _write(self, text: str) -> None:
        data = text.encode()
        if os.write(self._file, data) != len(data):
            raise OSError("the journal's file system took only part of a line; is it full?")

    def close(self) -> None:
        """Let go of the file. May be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class JournalReader:
    """Reads a journal while it grows: each call gives the lines that are new since the last one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def new(self) -> Iterator[tuple[str, ...]]:
        """Yield whole, sealed lines; a file that is not there yet has none."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.decode(errors="replace").split("\n"):
            words = tuple(line.split("\t"))
            if len(words) > 1 and words[-1] == _SEAL:
                yield words[:-1]


def read_journal(path: Path) -> list[tuple[str, ...]]:
    """Return all whole lines of the file."""
    return list(JournalReader(path).new())
