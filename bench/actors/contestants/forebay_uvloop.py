"""The same on uvloop, for those whose program runs on it: how much of an ask is the event loop's."""

import uvloop
from figures import Figures, Sizes

from contestants.forebay_actor import _run


def run(sizes: Sizes) -> Figures:
    return uvloop.run(_run(sizes))
