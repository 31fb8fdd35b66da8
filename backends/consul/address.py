"""Where the agent is: `consul://[TOKEN@]host[:port][?dc=NAME]`."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from attrs import field, frozen

PORT: Final = 8500
FORM: Final = "consul://TOKEN@host:8500?dc=NAME, where TOKEN@, the port and ?dc=NAME may be left out"

_URL: Final = re.compile(
    r"consul://(?:(?P<token>[^\s/@?#:]*)@)?"
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?"
    r"(?:\?dc=(?P<dc>[A-Za-z0-9._-]+))?",
    re.ASCII,
)


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
    match = _URL.fullmatch(url)
    port = int(match["port"] or PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise ValueError(f"write the coordination's URL as {FORM}")
    return Address(match["ipv6"] or match["host"], port, unquote(match["token"] or "") or None, match["dc"])
