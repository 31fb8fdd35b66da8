"""Programs that were gotten once and are kept: a folder each, which is there as a whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


def cache_folder() -> Path:
    """`FOREBAY_CACHE`, or else `~/.cache/forebay/servers`."""
    named = os.environ.get("FOREBAY_CACHE")
    return Path(named).absolute() if named else Path.home() / ".cache" / "forebay" / "servers"


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return the cache's folder `name`. If it is not there, `make` fills an empty folder, which then takes that name.

    A `make` that raises or is killed leaves nothing that would be taken for the whole. Two processes do not make the same
    thing twice: the second waits for the first.
    """
    cache = cache_folder()
    folder = cache / name
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"{name}.lock"):
        if not folder.is_dir():
            _remove_remains(cache, name)
            with TemporaryDirectory(dir=cache, prefix=_scratch(name)) as scratch:
                new = Path(scratch) / "new"
                new.mkdir()
                make(new)
                new.rename(folder)
    return folder


def in_cache(name: str) -> Path | None:
    """Return the cache's folder `name` if it is there."""
    folder = cache_folder() / name
    return folder if folder.is_dir() else None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which is created. It ends with the process at the latest."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _scratch(name: str) -> str:
    return f".{name}."


def _remove_remains(cache: Path, name: str) -> None:
    """Remove what a killed process left; called under the lock, so nobody works there."""
    for remains in cache.glob(f"{_scratch(name)}*"):
        shutil.rmtree(remains, ignore_errors=True)
