"""One incarnation of an actor in the supervisors' plain model: S3, S4, S6. It imports nothing of forebay."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from property.model_terms import (
    ABANDONED,
    KILLED,
    NORMAL,
    PATIENCE,
    QUIT,
    SHUTDOWN,
    Event,
    Exit,
    Leaf,
)

if TYPE_CHECKING:
    from property.supervisor_model import Timer, World


class ActorRun:
    """One incarnation of an actor."""

    def __init__(
        self,
        world: World,
        path: str,
        incarnation: int,
        leaf: Leaf,
        on_started: Callable[[], None],
        on_ended: Callable[[Exit], None],
    ) -> None:
        self.world, self.path, self.incarnation, self.leaf = world, path, incarnation, leaf
        self.life = leaf.life(incarnation)
        self.phase = "starting"
        self.started = False
        self.exit: Exit | None = None
        self.unordered = False
        self._asked = False
        self._lane: deque[Exit] = deque()
        self._job: Timer | None = None
        self._job_done: Callable[[bool], None] = lambda cancelled: None
        self._patience = 0
        self._cause: str | None = None
        self._ladder: Timer | None = None
        self._rung = 0
        self._own_end: Timer | None = None
        self._limit: Timer | None = None
        self._on_started, self._on_ended = on_started, on_ended

    @property
    def ended(self) -> bool:
        return self.phase == "ended"

    @property
    def idle(self) -> bool:
        return self.phase == "running" and self._job is None

    # --- what others do to it

    def launch(self) -> None:
        if self.leaf.start_limit is not None:
            self._limit = self.world.after(self.leaf.start_limit, self._start_timed_out)
        self._work(self.life.start, self.life.stubborn, self._start_done)

    def stop(self, grace: float) -> None:
        first, self._asked = not self._asked, True
        if first and self.phase == "running":
            self._lane.append(SHUTDOWN)
        if grace <= 0:
            self._bound(grace)
        elif first and self.phase == "starting":
            self._cancel("stop")
        elif first and self.idle:
            self._read()
        self._bound(grace)

    def crash(self, kind: str) -> None:
        if self.phase == "running":
            self._deliver(("failed", kind))

    def finish(self, _: None = None) -> None:
        if self.idle:
            self._deliver(QUIT)

    def busy(self, seconds: float) -> None:
        if self.idle:
            self._work(seconds, self.life.stubborn, self._handler_done)

    def cancel(self) -> None:
        """A cancellation from outside (C1)."""
        if not self.ended and not self.life.stubborn:
            self._cancel("outside")

    # --- its life

    def _work(self, seconds: float, patience: int, done: Callable[[bool], None]) -> None:
        self._patience, self._job_done = patience, done
        if seconds > 0:
            self._job = self.world.after(seconds, lambda: self._job_over(cancelled=False))
        else:
            done(False)

    def _job_over(self, *, cancelled: bool) -> None:
        assert self._job is not None
        self._job.cancel()
        self._job = None
        if not self.ended:
            self._job_done(cancelled)

    def _cancel(self, cause: str) -> None:
        if self._cause != "start_timeout":
            self._cause = cause
        if self._job is None:
            self._begin_end(KILLED)
        elif self._patience > 0:
            self._patience -= 1
        else:
            self._job_over(cancelled=True)

    def _start_timed_out(self) -> None:
        self._cause = "start_timeout"
        if self._rung == 0:
            self._climb()
        else:
            self._cancel("start_timeout")

    def _start_done(self, cancelled: bool) -> None:
        if self._limit is not None:
            self._limit.cancel()
        if not cancelled and self.life.start_fails is not None:
            self._end(("failed", self.life.start_fails))
        elif self._cause == "start_timeout":
            self._end(("failed", "start_timeout"))
        elif self._asked:
            self._end(SHUTDOWN)
        elif cancelled:
            self._end(KILLED)
        else:
            self._begin_run()

    def _begin_run(self) -> None:
        self.phase, self.started = "running", True
        if self.life.runs is not None:
            self._own_end = self.world.after(self.life.runs, self._end_by_itself)
        self._on_started()

    def _end_by_itself(self) -> None:
        self._deliver(QUIT if self.life.ends == "normal" else ("failed", self.life.ends))

    def _deliver(self, exit_: Exit) -> None:
        self._lane.append(exit_)
        if self._job is None:
            self._read()

    def _handler_done(self, cancelled: bool) -> None:
        if cancelled:
            self._begin_end(KILLED)
        else:
            self._read()

    def _read(self) -> None:
        """The system lane, first come, first served; an end by itself comes to nothing once a stop was asked for."""
        while self._lane and self.phase == "running":
            message = self._lane.popleft()
            if message != QUIT:
                self._begin_end(message)
            elif not self._asked:
                self._asked = True
                self._lane.append(NORMAL)

    def _begin_end(self, exit_: Exit) -> None:
        if self._own_end is not None:
            self._own_end.cancel()
        self.exit = exit_
        self.phase = "ending"
        self._bound(self.leaf.grace)
        self._note("OnStop")
        self._work(self.life.stop, self.life.stubborn, self._stop_done)

    def _stop_done(self, cancelled: bool) -> None:
        assert self.exit is not None
        if not cancelled and self.life.stop_fails and self.exit[0] != "failed":
            self.exit = ("failed", "stop")
        elif cancelled and self.exit[0] != "failed":
            self.exit = KILLED
        self._end(self.exit)

    # --- the ladder (S4)

    def _bound(self, grace: float) -> None:
        if self.ended or self._rung > 0:
            return
        if self._ladder is not None:
            if self._ladder.at <= self.world.now + grace:
                return
            self._ladder.cancel()
        if grace > 0:
            self._ladder = self.world.after(grace, self._climb)
        else:
            self._climb()

    def _climb(self) -> None:
        self._rung += 1
        if self._ladder is not None:
            self._ladder.cancel()
        if self._rung > 2:
            self._end(ABANDONED)
            return
        self._ladder = self.world.after(PATIENCE, self._climb)
        self._cancel("time")

    def _end(self, exit_: Exit) -> None:
        if self.ended:
            return
        self.phase = "ended"
        late = self._rung > 0
        self.exit = KILLED if late and exit_ in (NORMAL, SHUTDOWN) else exit_
        for timer in (self._ladder, self._own_end, self._limit):
            if timer is not None:
                timer.cancel()
        self._on_ended(self.exit)

    def _note(self, kind: str) -> None:
        self.world.log.append(Event(self.world.now, kind, self.path, self.incarnation, (), self.unordered))
