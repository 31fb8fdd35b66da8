"""A dead process's data folder, looked at from outside: copies are opened, so that nothing in the folder changes."""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

IN_FLIGHT, DEAD = 3, 4


def rows(data: Path, query: str, store: str = "queue-main.db") -> Sequence[Sequence[Any]]:
    """What a query finds in one store of the folder, as it would be after recovery."""
    with TemporaryDirectory() as copy:
        for path in data.glob(f"{store}*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, copy)
        with closing(sqlite3.connect(Path(copy) / store)) as connection:
            return connection.execute(query).fetchall()


def leased(data: Path) -> int:
    """How many jobs are leased to a worker."""
    return int(rows(data, f"SELECT count(*) FROM jobs WHERE state = {IN_FLIGHT}")[0][0])


def dead(data: Path) -> frozenset[str]:
    """The ids in the dead list."""
    return frozenset(row[0] for row in rows(data, f"SELECT id FROM jobs WHERE state = {DEAD}"))
