"""Where a gate listens, as a client is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen

_HTTP_PORT = 80
_HOST = re.compile(r"[A-Za-z0-9._~:-]+")


@frozen
class Address:
    """One gate: a host and a port, or the path of a Unix socket. `url` is how it is named in messages."""

    url: str
    host: str = "localhost"
    port: int = _HTTP_PORT
    path: Path | None = None

    @property
    def authority(self) -> str:
        """What the Host header says."""
        return "localhost" if self.path is not None else self.url.removeprefix("http://")


def addresses(gates: str | Sequence[str]) -> tuple[Address, ...]:
    """The gates of a client. Raises `ValueError`, with what to write instead, for what names none."""
    found = tuple(address(url) for url in ([gates] if isinstance(gates, str) else gates))
    if not found:
        raise ValueError("no gate is named; give at least one, like http://127.0.0.1:8080")
    urls = [one.url for one in found]
    if twice := next((url for url in urls if urls.count(url) > 1), None):
        raise ValueError(f"{twice} is named twice; name each gate once")
    return found


def address(url: str) -> Address:
    """Read `http://host:port` or `unix:/path`. Raises `ValueError`."""
    if url.startswith("unix:"):
        return _unix(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"gate {url!r}: {error}; write http://host:port or unix:/path/to/control.sock") from None
    if parts.scheme == "https":
        raise ValueError(f"gate {url!r}: a gate speaks plain HTTP; put http:// and keep gates on a trusted network")
    if parts.scheme != "http" or not host or not _HOST.fullmatch(host):
        raise ValueError(f"gate {url!r} is no address of a gate; write http://host:port or unix:/path/to/control.sock")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"gate {url!r}: only host and port are taken; write http://{parts.netloc.rpartition('@')[2]}")
    return Address(f"http://{parts.netloc}", host, _HTTP_PORT if port is None else port)


def _unix(url: str) -> Address:
    path = Path("/" + url.removeprefix("unix:").lstrip("/"))
    if not url.startswith("unix:/") or path == Path("/"):
        raise ValueError(f"gate {url!r}: a Unix socket is named by its whole path, like unix:/var/lib/app/control.sock")
    return Address(f"unix:{path}", path=path)
