"""Who takes part. Each module has `run(sizes) -> Figures`."""

from __future__ import annotations

from importlib import import_module

from attrs import frozen
from figures import Figures, Sizes


@frozen
class Contestant:
    """`package` is what has to be installed for it, None for the standard library alone."""

    name: str
    module: str
    package: str | None = None

    def run(self, sizes: Sizes) -> Figures:
        """Measure one round in this process. Raises `ImportError` where the package is missing."""
        figures: Figures = import_module(f"contestants.{self.module}").run(sizes)
        return figures


CONTESTANTS = (
    Contestant("forebay", "forebay_actor", "forebay"),
    Contestant("pykka", "pykka_actor", "pykka"),
    Contestant("thespian", "thespian_actor", "thespian"),
    Contestant("mode-streaming", "mode_service", "mode-streaming"),
    Contestant("xoscar", "xoscar_actor", "xoscar"),
    Contestant("asyncio.Queue", "queue_loop"),
    Contestant("deque + future", "deque_future"),
    Contestant("forebay on uvloop", "forebay_uvloop", "uvloop"),
)
"""In the order in which each round runs them."""


def find(name: str) -> Contestant:
    """Return the contestant of that name. Raises `LookupError`."""
    for contestant in CONTESTANTS:
        if contestant.name == name:
            return contestant
    raise LookupError(f"no contestant {name!r}; there are: {', '.join(c.name for c in CONTESTANTS)}")
