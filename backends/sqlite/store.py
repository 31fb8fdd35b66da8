"""Opening a store file: ours, of a schema we know, with the pragmas that durability needs."""

import sqlite3
from pathlib import Path

from attrs import frozen

from forebay.backends.errors import StoreCorrupt
from forebay.backends.sqlite.faults import translate

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # sync at every commit: what is answered survives a power cut
    "PRAGMA wal_autocheckpoint = 4000",  # pages (16 MB): fewer stalls for copying back
    "PRAGMA journal_size_limit = 67108864",  # bytes that a once large log may keep
    "PRAGMA cache_size = -16384",  # KiB
    "PRAGMA temp_store = MEMORY",
)
_BUSY = 5.0  # seconds to wait for a person's `sqlite3` shell that holds a lock


@frozen
class Schema:
    """What a store file holds: `kind` names it, `mark` is its application id, `version` its schema
    version.
    """

    kind: str
    mark: int
    version: int
    script: str


def open_store(path: Path, schema: Schema) -> sqlite3.Connection:
    """Open or create the file. The connection is in autocommit mode and belongs to the calling
    thread.

    Raises `StoreCorrupt` for a file that is damaged, not ours or of a newer schema, `Unavailable`
    or `Full` where the disk refuses.
    """
    try:
        connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    try:
        _prepare(connection, path, schema)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path) from error
    except StoreCorrupt:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    if _is_new(connection):
        connection.executescript(
            f"BEGIN; {schema.script}; PRAGMA application_id = {schema.mark};PRAGMA user_version = {schema.version}; COMMIT;"
        )
    else:
        _check(connection, path, schema)
    for pragma in _PRAGMAS:
        connection.execute(pragma).fetchall()


def _is_new(connection: sqlite3.Connection) -> bool:
    return (
        _pragma(connection, "application_id") == 0
        and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    )


def _check(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    if _pragma(connection, "application_id") != schema.mark:
        raise StoreCorrupt(f"{path} is not a forebay {schema.kind} store; move it away or choose another data folder")
    found = _pragma(connection, "user_version")
    if found != schema.version:
        raise StoreCorrupt(
            f"{path} has schema {found} and this forebay knows schema {schema.version}; "
            "run the forebay that wrote it, or choose another data folder"
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
