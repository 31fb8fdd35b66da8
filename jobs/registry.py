"""Which function handles which type of job."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import field, frozen

from .policy import RetryPolicy
from .words import check_word

Handler = Callable[[Any], Any]
H = TypeVar("H", bound=Handler)


class DuplicateHandler(ValueError):
    """Two different functions were registered for one type of job."""

    def __init__(self, type_: str, first: HandlerSpec, second: HandlerSpec) -> None:
        super().__init__(
            f"job type {type_!r} is handled by {first.name} ({first.where}) and again by"
            f" {second.name} ({second.where}); give one of them another type"
        )
        self.type = type_


@frozen
class HandlerSpec:
    """A handler and how to run it.

    `is_async` tells coroutine functions from plain ones, which run in a thread. `timeout` is the
    longest run in seconds, None for no limit.
    """

    type: str
    function: Handler = field(repr=False)
    is_async: bool
    retry: RetryPolicy
    timeout: float | None

    @property
    def name(self) -> str:
        """The function's module and qualified name."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def where(self) -> str:
        """The file and line of the function."""
        code = inspect.unwrap(self.function).__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    def same_function(self, other: HandlerSpec) -> bool:
        """True for one function met twice: a module imported again, or run as `__main__` too."""
        return self.name == other.name or self.where == other.where


class Registry:
    """Handlers by job type. Filled by decorators while modules are imported, then only read."""

    def __init__(self) -> None:
        self._specs: dict[str, HandlerSpec] = {}

    def job(
        self,
        type_: str,
        /,
        *,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
    ) -> Callable[[H], H]:
        """Register the decorated function as the handler of a type; the function is unchanged.

        The function takes exactly one argument, the `JobContext`. `retry` defaults to
        `RetryPolicy()`; `timeout` is in seconds, None for no limit. Raises `TypeError` for
        something that cannot be a handler, `DuplicateHandler` if another function has the type,
        `ValueError` for a bad type or timeout.
        """
        if not isinstance(type_, str):
            raise TypeError('the decorator needs the job\'s type: @job("mail.send")')
        check_word("type", type_)
        if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
            raise ValueError(f"job type {type_!r}: timeout is {timeout}; it must be > 0 seconds")

        def register(function: H) -> H:
            self._add(_specify(type_, function, retry or RetryPolicy(), timeout))
            return function

        return register

    def types(self) -> frozenset[str]:
        """Every type that has a handler."""
        return frozenset(self._specs)

    def lookup(self, type_: str) -> HandlerSpec | None:
        """The handler of a type, None if there is none."""
        return self._specs.get(type_)

    def _add(self, spec: HandlerSpec) -> None:
        known = self._specs.get(spec.type)
        if known is not None and not known.same_function(spec):
            raise DuplicateHandler(spec.type, known, spec)
        self._specs[spec.type] = spec


def _specify(type_: str, function: Handler, retry: RetryPolicy, timeout: float | None) -> HandlerSpec:
    if not inspect.isroutine(function) or not hasattr(inspect.unwrap(function), "__code__"):
        raise TypeError(f"job type {type_!r}: a handler is a function, not {function!r}")
    spec = HandlerSpec(type_, function, inspect.iscoroutinefunction(function), retry, timeout)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(_advice(spec, "is a generator; a handler returns, it does not yield"))
    if not _takes_one(function):
        raise TypeError(_advice(spec, "must take exactly one argument, the job's context"))
    return spec


def _takes_one(function: Handler) -> bool:
    """One named positional parameter, or none but `*args` (a wrapper's)."""
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not named:
        return any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return len(named) == 1 and named[0].kind is not named[0].KEYWORD_ONLY


def _advice(spec: HandlerSpec, fault: str) -> str:
    signature = inspect.signature(spec.function)
    return (
        f"job type {spec.type!r}: {spec.name}{signature} at {spec.where} {fault}:"
        f" write `async def {spec.function.__name__}(job: JobContext)`"
    )


default_registry = Registry()
"""The registry that `@job` fills and that workers use unless they are given another."""

job = default_registry.job
