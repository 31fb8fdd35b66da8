"""URLs of stores: which schemes each port takes, and values that do not show their secrets."""

from __future__ import annotations

import re

from attrs import field, frozen

from .kinds import Scalar
from .problems import mask_url


@frozen
class Port:
    """A port and the URL schemes that have an adapter for it here, and those still to come."""

    name: str
    schemes: frozenset[str]
    planned: frozenset[str]


# A new adapter moves its scheme from the second set to the first.
LOG = Port("log", frozenset({"sqlite"}), frozenset({"kafka"}))
QUEUE = Port("queue", frozenset({"sqlite"}), frozenset({"redis", "rediss"}))
COORDINATION = Port("coordination", frozenset({"sqlite"}), frozenset({"consul"}))

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.DOTALL)


@frozen(repr=False)
class StoreUrl:
    """A store's URL. `text` is the whole of it; `str()` and `repr()` mask what may be secret."""

    text: str = field()

    @property
    def scheme(self) -> str:
        """What stands before the colon."""
        return self.text.partition(":")[0]

    def __str__(self) -> str:
        return mask_url(self.text)

    def __repr__(self) -> str:
        return f"StoreUrl({mask_url(self.text)!r})"


def store_url(port: Port) -> Scalar[StoreUrl]:
    """A URL for `port`; its scheme must have an adapter."""
    usable = " or ".join(f'"{scheme}:"' for scheme in sorted(port.schemes))

    def read(value: object) -> StoreUrl:
        url = value.text if isinstance(value, StoreUrl) else value
        match = _SCHEME.fullmatch(url) if isinstance(url, str) else None
        if match is None:
            raise ValueError(f"write the {port.name}'s URL: {usable}")
        if match[1] in port.planned:
            raise ValueError(
                f"write {usable}: this version has only the sqlite adapter for the {port.name}, {match[1]} comes later"
            )
        if match[1] not in port.schemes:
            raise ValueError(f"write {usable}: the {port.name} knows no scheme {match[1]}")
        if match[1] == "sqlite" and match[2]:
            raise ValueError('write "sqlite:" alone; the files lie in the folder `data`')
        return StoreUrl(str(url))

    return Scalar(read, str)
