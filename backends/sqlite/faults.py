"""SQLite's errors in the words of `backends.errors`."""

import sqlite3
from pathlib import Path

from forebay.backends.errors import BackendError, Full, StoreCorrupt, Unavailable, UnknownOutcome

_PRIMARY = 0xFF  # an extended result code carries the primary one in its low byte
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_ENVIRONMENT = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
)


def translate(error: sqlite3.Error, path: Path, *, committing: bool = False) -> BackendError:
    """Return the port's error for `error`. `committing`: it came while a commit was being written.

    A failed write or sync of the commit itself may still reach the disk, so it is `UnknownOutcome`;
    a full disk cannot, because the commit's last page is what found no room.
    """
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code == sqlite3.SQLITE_FULL:
        return Full(f"{path}: the disk is full ({error}); free some space, the store goes on by itself")
    if code in _DAMAGE:
        return StoreCorrupt(
            f"{path} is damaged or not an SQLite file ({error}); move it away or restore it from a backup, then start again"
        )
    if code in _ENVIRONMENT:
        kind = UnknownOutcome if committing and code == sqlite3.SQLITE_IOERR else Unavailable
        return kind(f"{path}: {error}; check the disk and the permissions of the data folder")
    return BackendError(f"{path}: {type(error).__name__}: {error}")
