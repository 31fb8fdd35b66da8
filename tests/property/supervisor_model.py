"""A plain model of the supervisor rules: docs/semantics.md, R1 to R13 and S1 to S6, on a clock of its own.

It imports nothing of forebay and has no tasks. The world holds timers; a supervisor is a generator that yields the
condition it waits for; after each timer every supervisor whose condition holds goes on, until none does.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from property.model_actor import ActorRun
from property.model_supervisor import SupervisorRun
from property.model_terms import Event, Exit, Place, Sup


class Timer:
    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at, self.action, self.live = at, action, True

    def cancel(self) -> None:
        self.live = False


class World:
    """The clock, and a tree on it. `fraction("path#incarnation")` is the share of the full jitter that follows its end."""

    def __init__(self, tree: Sup, fraction: Callable[[str], float]) -> None:
        self.now = 0.0
        self.fraction = fraction
        self.lives: dict[str, int] = {}
        self.log: list[Event] = []
        self.stopped_in_restart = False
        self.answers: list[tuple[float, int, str]] = []
        self.timers: list[tuple[float, int, Timer]] = []
        self.supervisors: list[SupervisorRun] = []
        self._numbers = itertools.count()
        self.root = SupervisorRun(self, "/", 1, tree, lambda: None, self._root_ended)
        self.root_exit: Exit | None = None
        self.root_ended_at: float | None = None
        self.root.launch()
        self.settle()

    def _root_ended(self, exit_: Exit) -> None:
        self.root_exit, self.root_ended_at = exit_, self.now

    def after(self, delay: float, action: Callable[[], None]) -> Timer:
        timer = Timer(self.now + delay, action)
        heapq.heappush(self.timers, (timer.at, next(self._numbers), timer))
        return timer

    def advance(self, until: float) -> None:
        while self.timers and self.timers[0][0] <= until:
            at, _, timer = heapq.heappop(self.timers)
            if timer.live:
                self.now = at
                timer.action()
                self.settle()
        self.now = max(self.now, until)

    def settle(self) -> None:
        going = True
        while going:
            going = False
            for supervisor in tuple(self.supervisors):
                going |= supervisor.step()

    def delay(self, label: str, base: float, cap: float, failures: int) -> float:
        """R7."""
        if failures <= 1:
            return 0.0
        return self.fraction(label) * min(cap, base * 2.0 ** (failures - 2))

    def tree(self) -> dict[str, Place]:
        return dict(self.root.shown()) if self.root_exit is None else {}

    def supervisor_at(self, path: str) -> SupervisorRun | None:
        """The supervisor whose children may be changed; it may have ended just now."""
        run = self._find(path)
        return run if isinstance(run, SupervisorRun) else None

    def run_at(self, path: str) -> ActorRun | SupervisorRun | None:
        """What runs there."""
        run = self._find(path)
        return run if run is not None and not run.ended else None

    def _find(self, path: str) -> ActorRun | SupervisorRun | None:
        run: ActorRun | SupervisorRun | None = self.root
        for part in path.strip("/").split("/") if path != "/" else ():
            child = run.children.get(part) if isinstance(run, SupervisorRun) else None
            run = child.run if child is not None else None
        return run
