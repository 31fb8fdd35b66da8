"""Random trees and timed programs of operations for the supervisor machine.

Every duration is a number of tenths of a second plus an offset of its own, so that no two things happen at one instant
unless one causes the other: at each instant the rules leave one outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from zlib import crc32

from hypothesis import strategies as st
from property.model_terms import GROUPS, Leaf, Life, Spec, Sup, join

T = TypeVar("T")


@dataclass(frozen=True)
class Op:
    """One operation, at a time: `verb` on `path`, with an argument."""

    at: float
    verb: str
    path: str
    subject: Any = None


@dataclass(frozen=True)
class Program:
    """A tree, what is done to it, and in the end a stop within `grace` seconds (None: all it needs)."""

    tree: Sup
    ops: tuple[Op, ...]
    stop_at: float
    grace: float | None


def share(label: str) -> float:
    """The share of the full jitter that follows an incarnation, `path#number`: 0 < share <= 1, the same on both sides."""
    return (crc32(label.encode()) % 9973 + 1) / 9973


@st.composite
def programs(draw: Callable[..., Any]) -> Program:
    return Author(draw).program()


class Author:
    """Draws one program."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self._draw = draw
        self._spans = 0
        self._fragile = False
        self._leaves: list[str] = []
        self._supervisors: list[str] = []

    def program(self) -> Program:
        self._fragile = self.chance(25)
        tree = self.supervisor("/", depth=0)
        ops = []
        now = 0.0
        for _ in range(self.number(1, 9)):
            now += self.span(1, 12)
            ops.append(self.op(now))
        now += self.span(1, 25)
        grace = self.one_of((None, None, None, self.span(1, 8)))
        return Program(tree, tuple(ops), now, grace)

    # --- drawing

    def number(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)))

    def one_of(self, choices: Sequence[T]) -> T:
        return self._draw(st.sampled_from(choices))

    def chance(self, percent: int) -> bool:
        return bool(self._draw(st.integers(0, 99)) >= 100 - percent)

    def span(self, low: int, high: int) -> float:
        """Seconds: from `low` to `high` tenths, and an offset that no other span has."""
        tenths = self.number(low, high)
        self._spans += 1
        return tenths * 0.1 + crc32(b"%d" % self._spans) % 9973 / 9973 * 0.05

    def instant_or(self, percent: int, low: int, high: int) -> float:
        return self.span(low, high) if self.chance(percent) else 0.0

    # --- trees

    def supervisor(self, path: str, depth: int) -> Sup:
        self._supervisors.append(path)
        strategy = self.one_of(("one_for_one", "one_for_all", "rest_for_one", "one_for_all", "rest_for_one", "dynamic"))
        auto = self.one_of(("never", "never", "never", "any_significant", "all_significant"))
        count = self.number(1, 3 if depth else 4)
        children = tuple(self.child(path, f"{'abcd'[i]}", depth, auto) for i in range(count))
        max_restarts = self.one_of((0, 0, 1) if self._fragile else (1, 0, 2, 1, 3))
        base = self.span(1, 4)
        cap = base + self.span(0, 20)
        slowest = sum(min(cap, base * 2.0**n) for n in range(max_restarts - 1))
        park = strategy not in GROUPS and self.chance(30)
        return Sup(
            strategy=strategy,
            children=children,
            max_restarts=max_restarts,
            period=slowest + self.span(2, 40),
            base=base,
            cap=cap,
            stable_after=self.span(1, 30),
            auto_shutdown=auto,
            park=park,
            cool_off=self.span(1, 15) if park and self.chance(60) else None,
            max_children=4 if strategy == "dynamic" and self.chance(30) else None,
        )

    def child(self, path: str, child_id: str, depth: int, auto: str) -> Spec:
        here = join(path, child_id)
        nested = depth < 2 and self.chance(70 if self._fragile else 40)
        restart = self.one_of(("permanent", "permanent", "permanent", "transient", "transient", "temporary"))
        significant = auto != "never" and restart != "permanent" and self.chance(70)
        if not nested:
            self._leaves.append(here)
        body = self.supervisor(here, depth + 1) if nested else self.leaf()
        return Spec(child_id, body, restart, significant)

    def leaf(self) -> Leaf:
        kinds = ("steady", "steady", "crasher", "flaky", "flaky", "late", "quitter", "refused", "refusing")
        kind = self.one_of(("crasher", "steady", "flaky") if self._fragile else kinds)
        lives: tuple[Life, ...]
        if kind == "steady":
            lives = (self.life(),)
        elif kind == "crasher":
            lives = tuple(self.life(runs=self.span(1, 15), ends=self.failure()) for _ in range(self.number(1, 3)))
            lives += (self.life(),) if self.chance(60) else ()
        elif kind == "flaky":
            failing = tuple(self.life(start_fails=self.failure()) for _ in range(self.number(1, 3)))
            lives = (self.life(runs=self.span(1, 12), ends=self.failure()), *failing, self.life())
        elif kind == "late":
            lives = (self.life(runs=self.span(8, 30), ends=self.failure()),)
        elif kind == "quitter":
            lives = (self.life(runs=self.span(1, 20), ends="normal"),)
        elif kind == "refused":
            lives = (*(self.life(start_fails="environment") for _ in range(self.number(1, 4))), self.life())
        else:
            lives = (*(self.life() for _ in range(self.number(0, 2))), self.life(start_fails="bug"), self.life())
        limit = self.span(1, 6) if self.chance(10) else None
        return Leaf(lives, grace=self.span(1, 8), start_limit=limit)

    def failure(self) -> str:
        return self.one_of(("bug", "bug", "bug", "environment"))

    def life(self, **fields: Any) -> Life:
        """A failing start takes time: at its first failure a child is started again within the same instant."""
        slow = fields.get("start_fails") is not None
        stubborn = self.one_of((1, 2, 9)) if self.chance(8) else 0
        longest = 35 if stubborn else 9  # long enough to be abandoned
        return Life(
            start=self.instant_or(100 if slow else 30, 1, longest),
            stop=self.instant_or(35, 1, longest),
            stop_fails=self.chance(6),
            stubborn=stubborn,
            **fields,
        )

    # --- operations

    def op(self, at: float) -> Op:
        verb = self.one_of((
            "crash", "crash", "crash", "crash", "crash both", "finish", "busy", "cancel",
            "terminate", "restart", "delete", "start", "terminate", "restart",
        ))  # fmt: skip
        if verb in ("crash", "crash both", "finish", "busy"):
            return self.op_on_actor(at, verb)
        if verb == "cancel":
            return Op(at, verb, self.one_of((*self._leaves, *self._supervisors) or ("/",)))
        path = self.one_of(self._supervisors)
        if verb == "start":
            body = self.leaf()
            child = Spec(self.one_of(("x", "y", "a")), body, self.one_of(("permanent", "transient", "temporary")))
            self._leaves.append(join(path, child.id))
            return Op(at, verb, path, child)
        return Op(at, verb, path, self.one_of(("a", "b", "c", "x")))

    def op_on_actor(self, at: float, verb: str) -> Op:
        path = self.one_of(self._leaves or ("/a",))
        if verb == "busy":
            return Op(at, verb, path, self.span(1, 20))
        if verb == "crash both":
            siblings = [leaf for leaf in self._leaves if leaf.rpartition("/")[0] == path.rpartition("/")[0]]
            return Op(at, verb, path, self.one_of(siblings or (path,)))
        return Op(at, verb, path, self.failure())
