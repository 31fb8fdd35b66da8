"""What a supervisor knows of one child."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from forebay.actors.cell import Cell
from forebay.actors.exits import Exit, describe
from forebay.actors.process import ActorProcess
from forebay.actors.snapshot import MailboxView, Node, State
from forebay.supervisors.spec import ChildSpec, SupervisorSpec
from forebay.supervisors.window import RestartWindow

if TYPE_CHECKING:
    from forebay.supervisors.supervisor import Supervisor


class Child:
    """The bookkeeping of one place under a supervisor, over all its incarnations."""

    __slots__ = (
        "cell",
        "due",
        "ended",
        "exit",
        "failures",
        "incarnation",
        "last_exit",
        "path",
        "process",
        "restarts",
        "retry",
        "spec",
        "stable_after",
        "started_at",
        "state",
        "window",
    )

    def __init__(self, spec: ChildSpec, path: str, cell: Cell | None, incarnation: int, stable_after: float) -> None:
        self.spec = spec
        self.stable_after = stable_after
        self.path = path
        self.cell = cell
        self.incarnation = incarnation
        self.state = State.STOPPED
        self.process: ActorProcess | Supervisor | None = None
        self.exit: Exit | None = None  # of the current process, once it has ended
        self.last_exit: Exit | None = None
        self.ended: asyncio.Future[Exit] | None = None  # for those who wait for the current process to end
        self.started_at: float | None = None
        self.failures = 0
        self.restarts = 0
        self.retry: asyncio.TimerHandle | None = None
        self.due: object = None  # the retry message that still counts
        self.window: RestartWindow | None = None

    @property
    def id(self) -> str:
        """The child's id under its supervisor."""
        return self.spec.id

    @property
    def live(self) -> bool:
        """Whether there is a process, ended or not, that has not been dealt with."""
        return self.process is not None

    @property
    def has_started(self) -> bool:
        """Whether the current process has started; it may have ended since."""
        return self.process is not None and self.process.started

    def begun(self, now: float) -> None:
        """The current process has started."""
        self.state = State.RUNNING
        self.started_at = now

    def over(self, exit_: Exit, now: float) -> None:
        """The current process has ended."""
        self.exit = self.last_exit = exit_
        self.state = State.STOPPED
        if self._stable(now):
            self.failures = 0
        self.started_at = None
        ended, self.ended = self.ended, None
        if ended is not None:
            ended.set_result(exit_)

    def _stable(self, now: float) -> bool:
        return self.started_at is not None and now - self.started_at >= self.stable_after

    def cancel_retry(self) -> None:
        """Forget a planned restart."""
        if self.retry is not None:
            self.retry.cancel()
        self.retry = self.due = None

    def node(self, now: float) -> Node:
        """Describe this child and what is below it."""
        process = self.process if self.exit is None else None
        return Node(
            path=self.path,
            kind="supervisor" if isinstance(self.spec.start, SupervisorSpec) else "actor",
            state=self.state,
            incarnation=self.incarnation,
            restarts=self.restarts,
            failures=0 if self._stable(now) else self.failures,
            next_restart=None if self.retry is None else max(0.0, self.retry.when() - now),
            last_exit=None if self.last_exit is None else describe(self.last_exit),
            mailbox=None if self.cell is None else mailbox_view(self.cell),
            tasks=tuple(process.tasks) if isinstance(process, ActorProcess) else (),
            strategy=self.spec.start.strategy.value if isinstance(self.spec.start, SupervisorSpec) else None,
            shown=None if self.cell is None else self.cell.shown,
            children=() if process is None or isinstance(process, ActorProcess) else process.nodes(),
        )


def mailbox_view(cell: Cell) -> MailboxView:
    """Describe an actor's mailbox and counters."""
    box = cell.mailbox
    return MailboxView(
        depth=len(box.user),
        capacity=box.capacity,
        high_water=max(box.high_water, len(box.user)),
        handled=cell.handled,
        dropped=box.dropped,
        dead_letters=cell.dead_letters,
    )
