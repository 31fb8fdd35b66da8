"""One incarnation of a supervisor in the plain model: R2 to R13, S1, S2, S5. It imports nothing of forebay.

A supervisor is a generator that yields the condition that it waits for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from property.model_actor import ActorRun
from property.model_requests import serve
from property.model_terms import (
    GROUPS,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Event,
    Exit,
    Place,
    Spec,
    Sup,
    Undetermined,
    Waiting,
    is_environment,
    join,
)

if TYPE_CHECKING:
    from property.supervisor_model import Timer, World


class Child:
    """What a supervisor knows of one child."""

    def __init__(self, spec: Spec, path: str, incarnation: int) -> None:
        self.spec, self.path, self.incarnation = spec, path, incarnation
        self.state = "stopped"
        self.run: ActorRun | SupervisorRun | None = None
        self.failures = self.restarts = 0
        self.started_at: float | None = None
        self.retry: Timer | None = None
        self.retry_number = 0
        self.incidents: list[float] = []

    def cancel_retry(self) -> None:
        if self.retry is not None:
            self.retry.cancel()
        self.retry = None
        self.retry_number += 1


class SupervisorRun:
    """One incarnation of a supervisor. Its inbox holds ends of children, restarts that are due, and requests."""

    def __init__(
        self,
        world: World,
        path: str,
        incarnation: int,
        spec: Sup,
        on_started: Callable[[], None],
        on_ended: Callable[[Exit], None],
    ) -> None:
        self.world, self.path, self.incarnation, self.spec = world, path, incarnation, spec
        self.children: dict[str, Child] = {}
        self.inbox: deque[tuple[Any, ...]] = deque()
        self.incidents: list[float] = []
        self.leaving: Exit | None = None
        self.exit: Exit | None = None
        self.deadline: float | None = None
        self.cancelled = self._asked = False
        self._started_at: float | None = None
        self.started = self.ended = False
        self.unordered = False
        self._on_started, self._on_ended = on_started, on_ended
        self._story = self._live()
        self._condition: Callable[[], object] = lambda: True

    # --- from outside

    def launch(self) -> None:
        self.world.supervisors.append(self)

    def stop(self, grace: float | None) -> None:
        self._asked = True
        states = [child.state for child in self.children.values()]
        self.world.stopped_in_restart |= self.started and bool({"waiting", "starting"} & set(states))
        retries = [child for child in self.children.values() if child.retry is not None]
        if self.world.now == self._started_at and (self.inbox or retries):
            raise Undetermined
        self.leaving = self.leaving or SHUTDOWN
        if grace is not None and (self.deadline is None or self.world.now + grace < self.deadline):
            self.deadline = self.world.now + grace
            self.world.after(grace, lambda: None)  # so that its passing is noticed

    def cancel(self) -> None:
        self.cancelled = True
        self.stop(0.0)

    def request(self, number: int, verb: str, subject: Any) -> None:
        if self.leaving is not None or self.ended:
            self.answer(number, "SupervisorStopped")
        else:
            self.inbox.append(("request", number, verb, subject))

    def shown(self) -> Iterator[tuple[str, Place]]:
        for child in self.children.values():
            failures = 0 if self._stable(child) else child.failures
            yield child.path, Place(child.state, child.incarnation, child.restarts, failures)
            if isinstance(child.run, SupervisorRun) and not child.run.ended:
                yield from child.run.shown()

    # --- its life

    def step(self) -> bool:
        """Go on if what it waits for has come."""
        if self.ended or not self._condition():
            return False
        try:
            self._condition = next(self._story)
        except StopIteration:
            self.world.supervisors.remove(self)
        return True

    def _live(self) -> Waiting:
        failed = yield from self._first_start()
        if failed is None and self.leaving is None:
            self.started = True
            self._on_started()
            self._started_at = self.world.now
            yield from self._serve()
            if self.world.now == self._started_at and not self._asked and self.path != "/":
                raise Undetermined
        self.leaving = self.leaving or SHUTDOWN
        self.unordered = self.spec.strategy == "dynamic" or self._overdue()
        if self.unordered:
            self._ask_all(lambda _: True)
        yield from self.stop_children(list(self.children.values()))
        self.ended = True
        for message in self.inbox:
            if message[0] == "request":
                self.answer(message[1], "SupervisorStopped")
        self.exit = KILLED if self.cancelled else failed or self.leaving
        self._on_ended(self.exit)

    def _serve(self) -> Waiting:
        while True:
            yield lambda: self.leaving or self.inbox
            if self.leaving is not None:
                return
            kind, *rest = self.inbox.popleft()
            if kind == "ended":
                child, run = rest
                if child.run is run:
                    yield from self._child_ended(child)
            elif kind == "due":
                child, number = rest
                if child.retry_number == number:
                    yield from self.restart_now(child)
            else:
                yield from serve(self, *rest)

    def _first_start(self) -> Waiting:
        """S1, R10."""
        for spec in self.spec.children:
            self.add(spec)
        for child in list(self.children.values()):
            if (yield from self.start(child)):
                continue
            if child.run is None or self.leaving is not None or self._pointless(child):
                return None
            exit_ = self.bury(child)
            if not is_environment(exit_):
                return ("failed", "child_start")
            if child.spec.restart == "temporary":
                self.remove(child)
                continue
            self._incident(child, exit_)
            self._schedule(child)
            if self.spec.strategy in GROUPS:
                return None
        return None

    # --- starting

    def add(self, spec: Spec) -> Child:
        path = join(self.path, spec.id)
        child = self.children[spec.id] = Child(spec, path, self.world.lives.get(path, 0))
        return child

    def remove(self, child: Child) -> None:
        child.cancel_retry()
        del self.children[child.spec.id]

    def start(self, child: Child) -> Waiting:
        if self.leaving is not None or self._pointless(child):
            return False
        run = self._launch(child)
        yield lambda: run.started or run.ended or self.leaving or self._pointless(child)
        if run.started or run.ended:
            return run.started
        yield from self.stop_children([child])
        return False

    def _launch(self, child: Child) -> ActorRun | SupervisorRun:
        child.cancel_retry()
        child.incarnation += 1
        self.world.lives[child.path] = child.incarnation
        child.state = "starting"

        def on_started() -> None:
            child.state, child.started_at = "running", self.world.now
            self._note("Started", child)

        def on_ended(exit_: Exit) -> None:
            if self._stable(child):
                child.failures = 0
            child.started_at = None
            child.state = "stopped"
            self._note("Exited" if run.started else "StartFailed", child, exit_)
            self.inbox.append(("ended", child, run))

        body = child.spec.body
        make: Any = SupervisorRun if isinstance(body, Sup) else ActorRun
        run: ActorRun | SupervisorRun = make(self.world, child.path, child.incarnation, body, on_started, on_ended)
        child.run = run
        run.launch()
        return run

    def _stable(self, child: Child) -> bool:
        return child.started_at is not None and self.world.now - child.started_at >= self.spec.stable_after

    def _pointless(self, child: Child) -> bool:
        """Whether the end of a sibling, not yet dealt with, will restart `child` anyway."""
        for message in self.inbox:
            if message[0] == "ended":
                _, other, run = message
                if other is not child and other.run is run and self._restarts(other) and child in self.group(other):
                    return True
        return False

    # --- ends

    def _child_ended(self, child: Child) -> Waiting:
        restarts = self._restarts(child)
        exit_ = self.bury(child)
        if restarts:
            yield from self._restart(child, exit_)
            return
        if child.spec.restart == "temporary" or self.spec.strategy == "dynamic":
            self.remove(child)
        if child.spec.significant:
            self._auto_shutdown()

    def _restarts(self, child: Child) -> bool:
        """R2."""
        assert child.run is not None
        exit_ = child.run.exit
        assert exit_ is not None
        return {"permanent": True, "transient": exit_ not in (NORMAL, SHUTDOWN), "temporary": False}[child.spec.restart]

    def bury(self, child: Child) -> Exit:
        assert child.run is not None
        exit_ = child.run.exit
        child.run = None
        child.state = "stopped"
        assert exit_ is not None
        return exit_

    def group(self, child: Child) -> list[Child]:
        """R3."""
        children = list(self.children.values())
        if self.spec.strategy == "one_for_all":
            return children
        if self.spec.strategy == "rest_for_one":
            return children[children.index(child) :]
        return [child]

    def _restart(self, child: Child, exit_: Exit) -> Waiting:
        others = [other for other in self.group(child) if other is not child]
        if not self._incident(child, exit_):
            self._exhausted(child)
            return
        child.state = "waiting"
        yield from self.stop_children(others)
        if self.leaving is None:
            self._schedule(child)

    def _incident(self, child: Child, exit_: Exit) -> bool:
        """R5, R6: whether the budget holds."""
        child.failures += 1
        restarting = tuple(c.spec.id for c in self.group(child) if c.spec.restart != "temporary")
        environment = is_environment(exit_)
        self._say("Incident", child.spec.id, environment, restarting)
        if environment:
            return True
        incidents = child.incidents if self.spec.park else self.incidents
        incidents.append(self.world.now)
        recent = [at for at in incidents if at >= self.world.now - self.spec.period]
        return len(recent) <= self.spec.max_restarts

    def _exhausted(self, child: Child) -> None:
        """R9."""
        if not self.spec.park:
            self._say("Escalated", child.spec.id)
            self.leaving = ("failed", "exhausted")
            return
        child.state, child.incidents = "parked", []
        self._note("Parked", child)
        if self.spec.cool_off is not None:
            self._retry_in(child, self.spec.cool_off)

    def _schedule(self, child: Child) -> None:
        """R7, R8."""
        delay = self.world.delay(f"{child.path}#{child.incarnation}", self.spec.base, self.spec.cap, child.failures)
        for member in self.group(child):
            if member.run is None:
                member.state = "waiting"
        self._note("RestartScheduled", child, round(delay, 6), child.failures)
        self._retry_in(child, delay)

    def _retry_in(self, child: Child, delay: float) -> None:
        child.cancel_retry()
        number = child.retry_number
        child.retry = self.world.after(delay, lambda: self.inbox.append(("due", child, number)))

    def restart_now(self, child: Child) -> Waiting:
        child.cancel_retry()
        group = self.group(child)
        yield from self.stop_children([member for member in group if member is not child])
        yield from self.start_group([member for member in group if member.spec.id in self.children])

    def start_group(self, members: list[Child]) -> Waiting:
        for member in members:
            if self.leaving is not None or self._pointless(member):
                return
            member.restarts += 1
            if (yield from self.start(member)):
                continue
            if member.run is not None and self.leaving is None and not self._pointless(member):
                exit_ = self.bury(member)
                if self._incident(member, exit_):
                    self._schedule(member)
                else:
                    self._exhausted(member)
            return

    def _auto_shutdown(self) -> None:
        """R11."""
        significant = [child for child in self.children.values() if child.spec.significant]
        left = [child for child in significant if child.run is not None or child.state in ("waiting", "parked")]
        rule = self.spec.auto_shutdown
        if rule == "any_significant" or (rule == "all_significant" and not left):
            self.leaving = SHUTDOWN

    # --- stopping

    def stop_children(self, children: list[Child]) -> Waiting:
        """S2, S5."""
        self.unordered = self.unordered or self._overdue()
        for child in reversed(children):
            child.cancel_retry()
            self._ask(child)
            run = child.run
            while run is not None and not run.ended:
                overdue, deadline = self._overdue(), self.deadline
                self.unordered = self.unordered or overdue
                self._ask_all(lambda other: overdue or other.state == "stopping")  # noqa: B023
                yield lambda: run.ended or (overdue, deadline) != (self._overdue(), self.deadline)  # noqa: B023
            if child.run is not None:
                self.bury(child)
            child.state = "stopped"
            if child.spec.restart == "temporary":
                self.remove(child)

    def _ask_all(self, which: Callable[[Child], bool]) -> None:
        for child in reversed(self.children.values()):
            if which(child):
                self._ask(child)

    def _ask(self, child: Child) -> None:
        run = child.run
        if run is None or run.ended:
            return
        child.state = "stopping"
        left = None if self.deadline is None else max(0.0, self.deadline - self.world.now)
        run.unordered = run.unordered or self.unordered
        if isinstance(run, SupervisorRun):
            run.stop(left)
        else:
            run.stop(run.leaf.grace if left is None else min(run.leaf.grace, left))

    def _overdue(self) -> bool:
        return self.deadline is not None and self.world.now >= self.deadline

    # --- saying

    def answer(self, number: int, answer: str) -> None:
        self.world.answers.append((self.world.now, number, answer))

    def _note(self, kind: str, child: Child, *detail: Any) -> None:
        unordered = self.unordered or (child.run is not None and child.run.unordered)
        self.world.log.append(Event(self.world.now, kind, child.path, child.incarnation, detail, unordered))

    def _say(self, kind: str, *detail: Any) -> None:
        self.world.log.append(Event(self.world.now, kind, self.path, self.incarnation, detail))
