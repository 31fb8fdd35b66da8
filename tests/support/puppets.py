"""Actors for tests of the actor model, and how to run a tree of them under virtual time."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from forebay import Actor, ChildSpec, Context, Exit, Exited, Runtime, SupervisorSpec
from forebay.testing import run_virtual, virtual_runtime


class Puppet(Actor[Any]):
    """Does as it is told: a message is a function of the context, plain or async, or a value that it keeps.

    `seen` collects values over all incarnations; `start` and `stop` are what it does at its beginning and end.
    """

    def __init__(self, seen: list[Any] | None = None, start: Any = None, stop: Any = None) -> None:
        self.seen = [] if seen is None else seen
        self.start = start
        self.stop = stop

    async def on_start(self, ctx: Context) -> None:
        await self._do(self.start, ctx)

    async def on_message(self, ctx: Context, message: Any) -> None:
        if callable(message):
            await self._do(message, ctx)
        else:
            self.seen.append(message)

    async def on_stop(self, ctx: Context, exit_: Exit) -> None:
        await self._do(self.stop, ctx)

    async def _do(self, action: Any, ctx: Context) -> None:
        if action is not None:
            done = action(ctx)
            if inspect.isawaitable(done):
                await done


def puppet(name: str = "a", seen: list[Any] | None = None, start: Any = None, stop: Any = None, **spec: Any) -> ChildSpec:
    """A child spec of a puppet."""
    return ChildSpec(name, functools.partial(Puppet, seen, start, stop), **spec)


def virtual(test: Callable[..., Any]) -> Callable[..., Any]:
    """Run an async test on the virtual loop."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> Any:
        return run_virtual(functools.partial(test, **kwargs), *args)

    return run


@asynccontextmanager
async def running(*children: ChildSpec, deadline: float = 60.0, **spec: Any) -> AsyncIterator[Runtime]:
    """A runtime of these children under virtual time."""
    async with virtual_runtime(SupervisorSpec(children=children, **spec), deadline=deadline) as runtime:
        yield runtime


def recorded(runtime: Runtime, *kinds: type) -> list[Any]:
    """A list that every event of these kinds is added to from now on."""
    events: list[Any] = []
    runtime.events.listen(lambda event: events.append(event) if isinstance(event, kinds) else None)
    return events


def exits(runtime: Runtime) -> list[Exit]:
    """A list that every exit is added to from now on."""
    found: list[Exit] = []
    runtime.events.listen(lambda event: found.append(event.exit) if isinstance(event, Exited) else None)
    return found


async def settled(runtime: Runtime, path: str = "/a") -> None:
    """Wait until the actor has handled all it was sent so far."""
    await runtime.ref(path).ask(lambda ctx: ctx.reply(None), 1e6)


def boom(ctx: Context) -> None:
    """A message that is a bug."""
    raise ValueError("boom")
