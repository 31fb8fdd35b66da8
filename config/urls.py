"""URLs of stores: which schemes each port takes and in which form, and values that do not show their secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from .kinds import Scalar
from .problems import mask_url


@frozen
class Form:
    """How a scheme's URL goes on behind its colon, and one that would be right."""

    pattern: re.Pattern[str]
    example: str


_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
_ADDRESS: Final = rf"{_HOST}(?::[0-9]{{1,5}})?"
_USER: Final = r"(?:[^\s/@?#]*@)?"


def _form(pattern: str, example: str) -> Form:
    return Form(re.compile(pattern, re.ASCII), example)


SQLITE: Final = _form("", "sqlite:")
KAFKA: Final = _form(rf"//{_ADDRESS}(?:,{_ADDRESS})*", "kafka://broker1:9092,broker2:9092")
REDIS: Final = _form(rf"//{_USER}{_ADDRESS}(?:/[0-9]{{1,5}})?", "redis://user:password@host:6379/0")
REDISS: Final = _form(
    REDIS.pattern.pattern + r"(?:\?ssl_ca_certs=[^?#&\s]+)?", "rediss://user:password@host:6379/0?ssl_ca_certs=FILE"
)
CONSUL: Final = _form(rf"//(?:[^\s/@?#:]*@)?{_ADDRESS}(?:\?dc=[A-Za-z0-9_-]+)?", "consul://token@127.0.0.1:8500?dc=name")


@frozen
class Port:
    """A port and the URLs that have an adapter for it here."""

    name: str
    forms: Mapping[str, Form]


LOG: Final = Port("log", MappingProxyType({"sqlite": SQLITE, "kafka": KAFKA}))
QUEUE: Final = Port("queue", MappingProxyType({"sqlite": SQLITE, "redis": REDIS, "rediss": REDISS}))
COORDINATION: Final = Port("coordination", MappingProxyType({"sqlite": SQLITE, "consul": CONSUL}))

_PORT: Final = re.compile(r":([0-9]+)(?=[,/?]|\Z)")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.DOTALL)


@frozen(repr=False)
class StoreUrl:
    """A store's URL. `text` is the whole of it; `str()` and `repr()` mask what may be secret."""

    text: str = field()

    @property
    def scheme(self) -> str:
        """What stands before the colon."""
        return self.text.partition(":")[0]

    @property
    def address(self) -> str:
        """What stands behind the scheme and `//`."""
        return self.text.partition(":")[2].removeprefix("//")

    @property
    def embedded(self) -> bool:
        """Whether the store lies in the data folder, in this process."""
        return self.scheme == "sqlite"

    def __str__(self) -> str:
        return mask_url(self.text)

    def __repr__(self) -> str:
        return f"StoreUrl({mask_url(self.text)!r})"


def store_url(port: Port) -> Scalar[StoreUrl]:
    """A URL for `port`; its scheme must have an adapter, and the rest that scheme's form."""
    usable = " or ".join(f'"{scheme}:"' for scheme in sorted(port.forms))

    def read(value: object) -> StoreUrl:
        url = value.text if isinstance(value, StoreUrl) else value
        match = _SCHEME.fullmatch(url) if isinstance(url, str) else None
        if match is None:
            raise ValueError(f"write the {port.name}'s URL: {usable}")
        form = port.forms.get(match[1])
        if form is None:
            raise ValueError(f"write {usable}: the {port.name} knows no scheme {match[1]}")
        if form is SQLITE and match[2]:
            raise ValueError('write "sqlite:" alone; the files lie in the folder `data`')
        if not form.pattern.fullmatch(match[2]) or any(int(number) > 65_535 for number in _PORT.findall(match[2])):
            raise ValueError(f"write it like {form.example}")
        return StoreUrl(str(url))

    return Scalar(read, str)
