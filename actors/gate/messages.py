"""What the gate's roles say to one another, and what an embedding program may say to them."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from forebay.backends.ports import Acks, NewRecord


def record_size(record: NewRecord) -> int:
    """Bytes of a record as logs count them: value, key, header names and values."""
    headers = sum(len(name.encode()) + len(value) for name, value in record.headers)
    return len(record.value) + len(record.key or b"") + headers


@frozen
class Append:
    """Ask the producer to put records into the log.

    Answered with a tuple of offsets, in order, once `acks` holds; fails with the log's `BackendError`, or with `Full`
    where the producer has no room.
    """

    records: tuple[NewRecord, ...]
    acks: Acks

    @property
    def size(self) -> int:
        """Bytes of all the records."""
        return sum(map(record_size, self.records))


@frozen
class Tcp:
    """A host name or address and a port; port 0 binds any free one."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """What a client on this machine puts before the path."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


@frozen
class Unix:
    """A Unix socket, for the owner only."""

    path: Path

    @property
    def url(self) -> str:
        """The socket in the form `unix:PATH`."""
        return f"unix:{self.path}"


@frozen
class WhereBound:
    """Ask an HTTP server where it listens: answered with the `url` of `Tcp`, with the port that was bound, or of `Unix`."""
