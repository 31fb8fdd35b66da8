"""The supervisor: one incarnation of it, as a state machine that reads like supervisor.erl.

Everything that happens to it arrives in one inbox: ends of children, restarts that are due, requests. It works on one at a
time, in order. While it waits for a child to start or to stop it looks at two things only: whether it must stop itself,
and whether an earlier end makes the start pointless. So a child that refuses to start or to stop never makes it deaf.

Why there is no task group here. A group cannot let go of a task that ignores its cancellation, so one such handler would
hang every stop above it; a group's cancellation has no order; and a cancel scope around user code breaks asyncio.timeout
and asyncio.TaskGroup inside it. Instead each child is a task that its process bounds (`actors.process`), and this class
does not end before all of its children have: nothing outlives its supervisor but what was abandoned and reported.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from attrs import frozen

from forebay.actors.events import Event, Exited, Started, StartFailed
from forebay.actors.exits import Exit, Failed, Killed, Normal, Shutdown, SupervisorStopped
from forebay.actors.process import ActorProcess
from forebay.actors.snapshot import Node, State
from forebay.actors.system import System
from forebay.supervisors.changes import serve
from forebay.supervisors.child import Child
from forebay.supervisors.control import SupervisorRef
from forebay.supervisors.requests import ChildStartFailed, Request
from forebay.supervisors.restarting import child_ended, group, restart_now, start_failed, will_restart
from forebay.supervisors.spec import ChildSpec, Restart, SupervisorSpec, join
from forebay.supervisors.stopping import stop_all, stop_children
from forebay.supervisors.window import RestartWindow


@frozen
class Ended:
    """A child's process has ended."""

    child: Child
    process: ActorProcess | Supervisor


@frozen
class RetryDue:
    """The wait before a restart is over."""

    child: Child


class Supervisor:
    """Starts, watches, restarts and stops its children. `on_ended` is called exactly once, from the loop.

    `leaving` is how it will end, once that is decided: from then on nothing is started.
    """

    def __init__(
        self,
        system: System,
        path: str,
        incarnation: int,
        spec: SupervisorSpec,
        on_started: Callable[[], None],
        on_ended: Callable[[Exit], None],
    ) -> None:
        self.system = system
        self.path = path
        self.incarnation = incarnation
        self.spec = spec
        self.started = False
        self.children: dict[str, Child] = {}
        self.task: asyncio.Task[Exit] | None = None
        self._ref = SupervisorRef(self)
        self._inbox: deque[Ended | RetryDue | Request] = deque()
        self._news: asyncio.Future[None] | None = None
        self.window = RestartWindow(spec.intensity)
        self.leaving: Exit | None = None
        self.deadline: float | None = None
        self.overdue = False
        self.told: tuple[float | None, bool] = (None, False)  # what of the deadline the children know
        self._alarm: asyncio.TimerHandle | None = None
        self._cancelled = False
        self._on_started = on_started
        self._on_ended = on_ended

    # --- from the outside

    def launch(self) -> None:
        """Begin. The next news is `on_started` or `on_ended`."""
        self.task = asyncio.get_running_loop().create_task(self._main(), name=f"{self.path}#{self.incarnation}")
        self.task.add_done_callback(self._task_done)

    def stop(self, reason: str, grace: float | None = None) -> None:
        """Ask for an orderly end; past `grace` seconds children are forced. Asked again, only an earlier end counts."""
        if self.leaving is None:
            self.leaving = Shutdown(reason)
        if grace is not None:
            self._bound(grace)
        self._wake()

    def _bound(self, grace: float) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + grace
        if self.deadline is None or at < self.deadline:
            self.deadline = at
            self._cancel_alarm()
            if grace > 0:
                self._alarm = loop.call_at(at, self._deadline_passed)
            else:
                self.overdue = True

    def _deadline_passed(self) -> None:
        # Told by the timer and not by a look at the clock: a real loop's timers may be early by its resolution.
        self.overdue = True
        self._wake()

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def time_left(self) -> float | None:
        """Seconds until the deadline, 0.0 past it; None if there is none."""
        if self.deadline is None:
            return None
        return 0.0 if self.overdue else max(0.0, self.deadline - asyncio.get_running_loop().time())

    def submit(self, request: Request) -> None:
        """Queue a change of the tree; fails at once when the supervisor is ending."""
        if self.leaving is not None or self.task is None:
            request.fail(SupervisorStopped(f"{self.path} is stopping"))
        else:
            self._post(request)

    def nodes(self) -> tuple[Node, ...]:
        """Describe the children, in start order, from bookkeeping alone."""
        now = asyncio.get_running_loop().time()
        return tuple(child.node(now) for child in self.children.values())

    # --- life cycle

    async def _main(self) -> Exit:
        try:
            failed = await self._start_initial()
            if failed is None and self.leaving is None:
                self.started = True
                self._on_started()
                await self._serve()
        finally:
            # Also on a bug in this class: no child is left running without a supervisor.
            await stop_all(self)
        if self._cancelled:
            raise asyncio.CancelledError
        return failed or self.leaving or Normal()

    async def _serve(self) -> None:
        while self.leaving is None:
            if not self._inbox:
                await self.wait()
                continue
            message = self._inbox.popleft()
            if isinstance(message, Ended):
                if message.child.process is message.process:
                    await child_ended(self, message.child)
            elif isinstance(message, RetryDue):
                if message.child.due is message:
                    await restart_now(self, message.child)
            else:
                await serve(self, message)

    async def _start_initial(self) -> Exit | None:
        """Start the children in order; return why that failed, or None.

        A child that the environment keeps from starting is retried like any other; a bug ends the whole start.
        """
        for spec in self.spec.children:
            self.add(spec)
        for child in list(self.children.values()):
            if await self.start(child):
                continue
            if child.exit is None or self.start_is_pointless(child):
                return None
            if not (isinstance(child.exit, Failed) and child.exit.environment):
                return Failed(ChildStartFailed(child.path, self.bury(child)))
            if child.spec.restart is Restart.TEMPORARY:
                self.bury(child)
                self.remove(child)
                continue
            start_failed(self, child)
            if self.spec.strategy.group:
                return None
        return None

    def _task_done(self, task: asyncio.Task[Exit]) -> None:
        self.task = None
        self._cancel_alarm()
        for child in self.children.values():
            self._forget(child, "its supervisor has ended")
        for message in self._inbox:
            if isinstance(message, Request):
                message.fail(SupervisorStopped(f"{self.path} has stopped"))
        self._inbox.clear()
        if task.cancelled():
            self._on_ended(Killed("cancelled from outside"))
        elif (error := task.exception()) is not None:
            self._on_ended(Failed(error))
        else:
            self._on_ended(task.result())

    # --- starting a child

    def add(self, spec: ChildSpec) -> Child:
        """Make the place of a child at the end of the order."""
        path = join(self.path, spec.id)
        cell = None if isinstance(spec.start, SupervisorSpec) else self.system.add(path, spec.mailbox)
        incarnation = cell.incarnation if cell is not None else self.system.recall(path)
        child = self.children[spec.id] = Child(spec, path, cell, incarnation, self.spec.stable_after)
        return child

    async def start(self, child: Child) -> bool:
        """Start a child and wait until it has started; False if it failed, or if starting it is or became pointless."""
        if self.start_is_pointless(child):
            return False
        self._launch(child)
        while not child.has_started and child.exit is None:
            if self.start_is_pointless(child):
                await stop_children(self, [child], "its start was cut short")
                return False
            await self.wait()
        return child.has_started  # if it has ended since, its end is in the inbox

    def start_is_pointless(self, child: Child) -> bool:
        """Whether this supervisor is ending, or a sibling has ended whose restart will include `child`."""
        return self.leaving is not None or (
            self.spec.strategy.group
            and any(
                isinstance(message, Ended)
                and message.child is not child
                and message.child.process is message.process
                and will_restart(message.child)
                and child in group(self, message.child)
                for message in self._inbox
            )
        )

    def _launch(self, child: Child) -> None:
        child.cancel_retry()
        child.incarnation += 1
        child.state = State.STARTING
        process = self._process(child)
        child.process = process
        process.launch()

    def _process(self, child: Child) -> ActorProcess | Supervisor:
        start = child.spec.start

        def on_started() -> None:
            child.begun(asyncio.get_running_loop().time())
            self.emit_of(child, Started)
            self._wake()

        def on_ended(exit_: Exit) -> None:
            child.over(exit_, asyncio.get_running_loop().time())
            self.emit_of(child, Exited if process.started else StartFailed, exit=exit_)
            self._post(Ended(child, process))

        process: ActorProcess | Supervisor
        if isinstance(start, SupervisorSpec):
            process = Supervisor(self.system, child.path, child.incarnation, start, on_started, on_ended)
        else:
            assert child.cell is not None
            child.cell.incarnation = child.incarnation
            process = ActorProcess(child.cell, start, child.spec.limits, self._ref, on_started, on_ended)
        return process

    # --- the end of a child

    def bury(self, child: Child) -> Exit:
        """Deal with an ended process; what remains is the child's record."""
        exit_ = child.exit
        assert exit_ is not None
        child.process = None
        child.exit = None
        if child.cell is not None and not child.spec.mailbox.keep:
            child.cell.clear("the actor restarts with an empty mailbox")
        return exit_

    def retry_in(self, child: Child, delay: float) -> None:
        """Plan the start of a child, and of what restarts with it, in `delay` seconds."""
        child.due = RetryDue(child)
        child.retry = asyncio.get_running_loop().call_later(delay, self._post, child.due)

    def remove(self, child: Child) -> None:
        """Take a child's place away for good."""
        self.children.pop(child.id, None)
        self._forget(child, "the child was removed")

    def _forget(self, child: Child, why: str) -> None:
        child.cancel_retry()
        if child.cell is not None:
            self.system.remove(child.cell, why)
        else:
            self.system.remember(child.path, child.incarnation)

    # --- inbox

    def _post(self, message: Ended | RetryDue | Request) -> None:
        self._inbox.append(message)
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def wait(self) -> None:
        """Wait for any news: a message, a child that started, an order to stop.

        A cancellation from outside (asyncio.run at its end cancels every task) means: end now, in order, without grace.
        It is raised again when the children have ended, which their processes bound.
        """
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        except asyncio.CancelledError:
            self._cancelled = True
            self.stop("cancelled from outside", 0.0)

    # --- events

    def emit(self, kind: type[Event], **fields: object) -> None:
        """Say something of this supervisor."""
        self._say(kind, path=self.path, incarnation=self.incarnation, **fields)

    def emit_of(self, child: Child, kind: type[Event], **fields: object) -> None:
        """Say something of a child."""
        self._say(kind, path=child.path, incarnation=child.incarnation, **fields)

    def _say(self, kind: type[Event], **fields: object) -> None:
        self.system.emit(kind(**{"at": self.system.now(), **fields}))  # type: ignore[arg-type]
