"""A reserve of disk space, so that a full disk cannot lock the queue.

Claims, outcomes and reaping need a little room for the write-ahead log even when they free more
than they take. What adds to the store is therefore refused while the reserve is touched, and what
empties it still works (the lesson of the outage that requirements.md tells of: dequeueing needed
memory and there was none).
"""

import os
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from forebay.backends.errors import Full, Unavailable

RESERVE = 64 * 1024 * 1024  # bytes: the write-ahead logs of all stores at their usual size, twice


def free_space(folder: Path) -> int:
    """Bytes that this user may still write on the folder's disk. Raises `Unavailable`."""
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        raise Unavailable(f"{folder}: cannot ask for the free space ({error})") from error
    return disk.f_bavail * disk.f_frsize


@frozen
class Room:
    """Refuses additions while fewer than `reserve` bytes are free on the disk of `folder`."""

    folder: Path
    reserve: int = RESERVE
    free: Callable[[Path], int] = free_space

    def require(self) -> None:
        """Raise `Full` when the reserve is touched."""
        left = self.free(self.folder)
        if left < self.reserve:
            raise Full(
                f"{self.folder}: {left} bytes are free and {self.reserve} are kept for emptying "
                "the queue; free some space on this disk"
            )
