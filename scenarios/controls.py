"""What is in force in the whole process while a virtual loop runs, and undone when it stops."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from forebay.scenarios.fences import Fenced, fenced_modules
from forebay.scenarios.order import ordered_scopes

GROWTH: Final = 500_000
"""Blocks of memory (some 50 MB) that may be added before a loop begins with a full collection."""

_only_one = threading.Lock()


class _Collected:
    """The last full collection here: `blocks` were in use after it."""

    blocks = 0


@contextmanager
def controls(*, audit: bool, breaches: list[Fenced]) -> Iterator[None]:
    """Put the controls in force for the calling thread; see `forebay.scenarios.loop`.

    Raises `RuntimeError` if they are in force already: clocks, garbage collector and anyio are the
    process's own, and have one owner at a time.
    """
    if not _only_one.acquire(blocking=False):
        raise RuntimeError("another virtual loop runs in this process; run them one after the other")
    with ExitStack() as stack:
        stack.callback(_only_one.release)
        stack.enter_context(_counted_collection())
        stack.enter_context(ordered_scopes())
        stack.enter_context(fenced_modules(audit=audit, breaches=breaches))
        yield


def _collect_what_earlier_loops_left() -> None:
    """Worlds are cyclic, and one that is over is beyond the loop's own collections. Automatic ones would come to it, but not
    in the instants between one loop and the next of a process that runs many.
    """
    if sys.getallocatedblocks() > _Collected.blocks + GROWTH:
        gc.collect()
        _Collected.blocks = sys.getallocatedblocks()


@contextmanager
def _counted_collection() -> Iterator[None]:
    """No automatic garbage collection: finalisers would run when the allocator says so. The loop's own collections leave out
    what was there before, the most of which is code.
    """
    _collect_what_earlier_loops_left()
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
