"""What is in force in the whole process while a virtual loop runs, and undone when it stops."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from forebay.scenarios.fences import Fenced, fenced_modules
from forebay.scenarios.order import ordered_scopes

_only_one = threading.Lock()


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


@contextmanager
def _counted_collection() -> Iterator[None]:
    """No automatic garbage collection: finalisers would run when the allocator says so. The loop's own collections leave out
    what was there before, the most of which is code.
    """
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
