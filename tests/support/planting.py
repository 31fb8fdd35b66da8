"""Plants a fault into a function for a while: its source with one passage replaced."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import frozen


@frozen
class Fault:
    """In the source of `function`, `right` stands exactly once and becomes `wrong`."""

    name: str
    function: Callable[..., Any]
    right: str
    wrong: str

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Whoever holds the function, by whatever name, calls the faulty one until the block ends."""
        sound = self.function.__code__
        self.function.__code__ = self._faulty().__code__
        try:
            yield
        finally:
            self.function.__code__ = sound

    def _faulty(self) -> Any:
        source = textwrap.dedent(inspect.getsource(self.function))
        found = source.count(self.right)
        if found != 1:
            raise ValueError(f"{self.name}: {self.right!r} stands {found} times in {self.function.__qualname__}, not once")
        faulty = compile(source.replace(self.right, self.wrong), f"<{self.name}>", "exec")
        names: dict[str, Any] = {}
        exec(faulty, dict(self.function.__globals__), names)
        return names[self.function.__name__]
