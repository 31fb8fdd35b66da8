"""Whole trees under virtual time, for tests: hours pass in milliseconds, and the same seed gives the same run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from forebay.actors.events import Event, Exited
from forebay.actors.exits import ActorError, Exit
from forebay.scenarios.loop import run, running_loop
from forebay.scenarios.trace import Trace
from forebay.scenarios.tracing import attach
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import SupervisorSpec

T = TypeVar("T")

HORIZON: Final = 86_400.0
"""Seconds of virtual time after which a run is given up: a runtime's own timers keep a run that hangs from ending."""

LAST_SHOWN: Final = 10


class Crash(Exception):
    """What `crash` makes an actor fail with, if nothing else is given."""


class NoSuchEvent(ActorError):
    """The event that was waited for did not come in time; the message shows the last ones that did."""


def run_virtual(
    main: Callable[..., Coroutine[Any, Any, T]],
    *args: Any,
    seed: int = 0,
    explore: bool = False,
    horizon: float = HORIZON,
) -> T:
    """Run `main(*args)` on a new virtual loop and return its result; from synchronous code only.

    `explore` draws the order of what is ready at the same time from the seed, so that many seeds try many interleavings.
    Raises what `main` raises; `Stuck` if the program cannot go on or passes `horizon` (seconds); `Fenced` if it
    reached for real time, threads or sockets.
    """
    return run(main, *args, seed=seed, explore=explore, horizon=horizon)


def virtual_runtime(tree: SupervisorSpec, *, deadline: float = 30.0) -> Runtime:
    """A runtime whose clock and random streams are those of the virtual loop that runs the caller.

    Use it as any other: `async with virtual_runtime(tree) as runtime`. Raises `TypeError` on a loop that is not virtual.
    """
    loop = running_loop()
    return Runtime(tree, deadline=deadline, clock=loop.clock, streams=loop.streams.stream)


async def until_event(runtime: Runtime, matches: Callable[[Event], bool], timeout: float = 10.0) -> Event:
    """Wait for the first event from now on that `matches`; at most `timeout` seconds, then raise `NoSuchEvent`."""
    loop = asyncio.get_running_loop()
    last: deque[Event] = deque(maxlen=LAST_SHOWN)
    async with runtime.events.subscribe() as events:
        expiry = loop.call_later(timeout, events.close)
        try:
            async for event in events:
                if matches(event):
                    return event
                last.append(event)
        finally:
            expiry.cancel()
    shown = "".join(f"\n  {type(e).__name__} {e.path}#{e.incarnation} {e.detail()}".rstrip() for e in last)
    raise NoSuchEvent(f"no such event within {timeout} s; the last were:{shown or ' none'}")


async def crash(runtime: Runtime, path: str, error: Exception | None = None, timeout: float = 10.0) -> Exit:
    """Make the actor at `path` fail as if its handler had raised `error`; return its exit when it has ended.

    Raises `LookupError` if no actor runs there, `NoSuchEvent` if it did not end within `timeout` seconds.
    """
    runtime.inject(path, error or Crash("crashed by a test"))
    ended = await until_event(runtime, lambda event: isinstance(event, Exited) and event.path == path, timeout)
    assert isinstance(ended, Exited)
    return ended.exit


def record(runtime: Runtime) -> Trace:
    """Write every event of the runtime into a trace from now on; `digest` tells two runs apart."""
    trace = Trace(asyncio.get_running_loop().time)
    attach(runtime.events, trace)
    return trace
