"""Hashes in creation order for the objects whose sets decide what runs next.

asyncio and anyio keep tasks, futures and cancel scopes in sets, and objects hash by address: the
order in which a cancelled scope reaches its tasks then depends on the history of the allocator.
Here each such object takes a number from its loop when it is made and hashes to it, so that a
set's order depends on the program alone. Equality stays identity.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import weakref
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from anyio._backends import _asyncio as anyio_backend

from forebay.scenarios.owner import OWNER, Owner, admitted, owner_in


class Numbered(Protocol):
    """A loop that numbers what is made on it, from 1."""

    numbers: itertools.count[int]


class OrderedTask(asyncio.Task[Any]):
    """A task that hashes to its number, is named by it if it was given no name, and knows its owner."""

    def __init__(self, coro: Any, *, loop: Any, name: str | None = None, context: Any = None) -> None:
        self.number: int = next(loop.numbers)
        self.owner: Owner | None = owner_in(context)
        super().__init__(coro, loop=loop, name=name or f"task-{self.number}", context=context)

    def __hash__(self) -> int:
        return self.number


class OrderedFuture(asyncio.Future[Any]):
    """A future that hashes to its number."""

    def __init__(self, *, loop: Any) -> None:
        self.number: int = next(loop.numbers)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class OrderedScope(anyio_backend.CancelScope):
    """A cancel scope that hashes to its number; one made off a numbering loop hashes as usual."""

    __slots__ = ("_hash",)

    def __init__(self, deadline: float = math.inf, shield: bool = False) -> None:
        numbers = getattr(asyncio._get_running_loop(), "numbers", None)  # noqa: SLF001 - None, where the public one raises
        self._hash: int = object.__hash__(self) if numbers is None else next(numbers)
        super().__init__(deadline=deadline, shield=shield)

    def __hash__(self) -> int:
        return self._hash


class OwnedHandle(asyncio.Handle):
    """A callback that its owner may hold back."""

    __slots__ = ()

    def _run(self) -> None:
        if admitted(self):
            super()._run()


class OwnedTimer(asyncio.TimerHandle):
    """A timer that its owner may hold back."""

    __slots__ = ()
    _scheduled: bool

    def _run(self) -> None:
        if admitted(self):
            super()._run()


class OrderedGenerators:
    """The running asynchronous generators, oldest first; a stand-in for the loop's weak set. Those whose owner does not run
    are not among them: nobody may end them.
    """

    def __init__(self) -> None:
        self._alive: weakref.WeakKeyDictionary[AsyncGenerator[Any, Any], Owner | None] = weakref.WeakKeyDictionary()

    def add(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Remember a generator until it is collected."""
        self._alive[generator] = OWNER.get()

    def discard(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Forget a generator."""
        self._alive.pop(generator, None)

    def clear(self) -> None:
        """Forget all."""
        self._alive.clear()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[AsyncGenerator[Any, Any]]:
        return (generator for generator, owner in self._alive.items() if owner is None or owner.running)


@contextmanager
def ordered_scopes() -> Iterator[None]:
    """Have anyio make `OrderedScope`s until the block ends."""
    original = anyio_backend.CancelScope
    setattr(anyio_backend, "CancelScope", OrderedScope)  # noqa: B010 - a class is no assignable name to mypy
    try:
        yield
    finally:
        setattr(anyio_backend, "CancelScope", original)  # noqa: B010
