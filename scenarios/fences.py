"""What code under virtual time may not touch, and the error it meets when it tries.

The loop's own doors to the world (threads, sockets, names, signals, processes) are closed
always. The audit closes, as far as Python can, the side doors through which real time and real
chance come in. Three it cannot close: functions that were imported by name before (`from time
import monotonic`), C code (`datetime.now()`, `time.localtime()`), and a `random.Random()` made
without a seed. Lint rules and review keep those out.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, MutableSequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from attrs import frozen

LoopClass = TypeVar("LoopClass", bound=type[asyncio.AbstractEventLoop])


class Fenced(RuntimeError):
    """Code under virtual time reached for something that is not reproducible."""


@frozen
class Fence:
    """One name that is replaced while the loop runs: `owner.name`, and what to use in its place."""

    owner: Any
    name: str
    instead: str

    @property
    def label(self) -> str:
        """The name as a reader would write it."""
        return f"{self.owner.__name__}.{self.name}"


_THREADS = "no thread runs under virtual time; put the work behind a port and simulate the port"
_IO = "nothing outside the process is reached under virtual time; simulate the service at its port"
_CLOCK = "take the time from the clock port or the running loop"
_SLEEP = "await asyncio.sleep(...)"
_RANDOM = "draw from a named stream (forebay.scenarios.streams)"
_ORDER = "its order depends on memory addresses; await the tasks one by one or use asyncio.wait"

_LOOP_METHODS = {
    "run_in_executor": _THREADS,
    "set_default_executor": _THREADS,
    "add_signal_handler": "send the runtime a message instead of a signal",
    **dict.fromkeys(
        (
            "getaddrinfo",
            "getnameinfo",
            "add_reader",
            "add_writer",
            "connect_accepted_socket",
            "connect_read_pipe",
            "connect_write_pipe",
            "create_connection",
            "create_datagram_endpoint",
            "create_server",
            "create_unix_connection",
            "create_unix_server",
            "sendfile",
            "sock_accept",
            "sock_connect",
            "sock_recv",
            "sock_recv_into",
            "sock_recvfrom",
            "sock_recvfrom_into",
            "sock_sendall",
            "sock_sendfile",
            "sock_sendto",
            "start_tls",
            "subprocess_exec",
            "subprocess_shell",
        ),
        _IO,
    ),
}

_ALWAYS = (
    Fence(threading.Thread, "start", _THREADS),
    Fence(subprocess.Popen, "__init__", _IO),
)

_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
_DRAWS = (
    "betavariate",
    "choice",
    "choices",
    "expovariate",
    "gammavariate",
    "gauss",
    "getrandbits",
    "lognormvariate",
    "normalvariate",
    "paretovariate",
    "randbytes",
    "randint",
    "random",
    "randrange",
    "sample",
    "seed",
    "shuffle",
    "triangular",
    "uniform",
    "vonmisesvariate",
    "weibullvariate",
)

_AUDITED = (
    *(Fence(time, name, _CLOCK) for name in _CLOCKS),
    Fence(time, "sleep", _SLEEP),
    *(Fence(random, name, _RANDOM) for name in _DRAWS),
    Fence(random, "_urandom", _RANDOM),  # the alias behind `secrets` and `SystemRandom`
    Fence(os, "urandom", _RANDOM),
    Fence(uuid, "uuid1", _RANDOM),
    Fence(uuid, "uuid4", _RANDOM),
    Fence(asyncio, "as_completed", _ORDER),
)

# A log record's time stamp never comes back into the program, and asyncio itself logs what
# nobody caught.
_PERMITTED_CALLERS = frozenset({"logging"})


def fence_methods(cls: LoopClass) -> LoopClass:
    """Close a loop class's doors to the world: each of these methods raises `Fenced`."""
    for name, instead in _LOOP_METHODS.items():
        setattr(cls, name, _closed_method(name, instead))
    return cls


@contextmanager
def fenced_modules(*, audit: bool, breaches: MutableSequence[Fenced]) -> Iterator[None]:
    """Close the side doors for the calling thread until the block ends, however it ends.

    Thread and process starts are closed always; clocks, chance and `asyncio.as_completed` if
    `audit`. Each breach is also appended to `breaches`, so that code which catches the error
    cannot hide it.
    """
    fences = (*_ALWAYS, *_AUDITED) if audit else _ALWAYS
    originals = [(fence, getattr(fence.owner, fence.name)) for fence in fences]
    owner = threading.get_ident()
    try:
        for fence, original in originals:
            setattr(fence.owner, fence.name, _closed(fence, original, owner, breaches))
        yield
    finally:
        for fence, original in originals:
            setattr(fence.owner, fence.name, original)


def breach(what: str, instead: str, breaches: MutableSequence[Fenced]) -> Fenced:
    """The error for `what`, written down before it is raised."""
    error = Fenced(f"{what} under virtual time: {instead}")
    breaches.append(error)
    return error


def _closed(
    fence: Fence,
    original: Callable[..., Any],
    owner: int,
    breaches: MutableSequence[Fenced],
) -> Callable[..., Any]:
    @functools.wraps(original)
    def closed(*args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001 - no public way at this cost
        if threading.get_ident() != owner or caller in _PERMITTED_CALLERS:
            return original(*args, **kwargs)
        raise breach(f"{fence.label} called from {caller}", fence.instead, breaches)

    return closed


def _closed_method(name: str, instead: str) -> Callable[..., NoReturn]:
    def closed(self: Any, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - stands for any
        raise breach(f"loop.{name}", instead, self.breaches)

    closed.__name__ = name
    return closed
