"""Where the agent is: `consul://[TOKEN@]host[:port][?dc=NAME]`."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import field, frozen

PORT: Final = 8500
FORM: Final = "consul://TOKEN@host:8500?dc=NAME, where TOKEN@, the port and ?dc=NAME may be left out"


@frozen
class Address:
    """An agent's address. `token` is sent with every call, `dc` names another data centre than the agent's own."""

    host: str
    port: int
    token: str | None = field(default=None, repr=False)
    dc: str | None = None

    @property
    def base(self) -> str:
        """What every request's URL begins with."""
        return f"http://{self.where}"

    @property
    def where(self) -> str:
        """For errors: the address without its secret."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(url: str) -> Address:
    """Read a URL. Raises `ValueError`, without the URL in it, for one that is not of the form above."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    dc = options.pop("dc", None)
    superfluous = parts.path or parts.fragment or parts.password or options or dc == ""
    if parts.scheme != "consul" or not parts.hostname or superfluous:
        raise ValueError(f"write the coordination's URL as {FORM}")
    return Address(parts.hostname, parts.port or PORT, unquote(parts.username) if parts.username else None, dc)
