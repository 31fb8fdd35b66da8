"""The embedded adapters: log, queue and coordination as SQLite files in one data folder."""

from forebay.backends.sqlite.coordination import SqliteCoordination
from forebay.backends.sqlite.embedded import Embedded, open_embedded
from forebay.backends.sqlite.log import SqliteLog
from forebay.backends.sqlite.queue import SqliteQueue

__all__ = ["Embedded", "SqliteCoordination", "SqliteLog", "SqliteQueue", "open_embedded"]
