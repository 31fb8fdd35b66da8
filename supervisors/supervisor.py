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
from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from forebay.actors.events import (
    Escalated,
    Event,
    Exited,
    Incident,
    Parked,
    RestartScheduled,
    Started,
    StartFailed,
)
from forebay.actors.exits import Exit, Failed, Killed, Normal, Shutdown
from forebay.actors.process import ActorProcess
from forebay.actors.snapshot import Node, State
from forebay.actors.system import System
from forebay.supervisors.changes import serve
from forebay.supervisors.child import Child
from forebay.supervisors.control import SupervisorRef
from forebay.supervisors.requests import (
    ChildStartFailed,
    Request,
    RestartsExhausted,
    SupervisorStopped,
)
from forebay.supervisors.spec import (
    AutoShutdown,
    ChildSpec,
    Exhausted,
    Restart,
    Strategy,
    SupervisorSpec,
    join,
)
from forebay.supervisors.window import RestartWindow


@frozen
class Ended:
    """A child's process has ended."""

    child: Child
    process: ActorProcess | Supervisor


@frozen(eq=False)
class RetryDue:
    """The wait before a restart is over."""

    child: Child


class Supervisor:
    """Starts, watches, restarts and stops its children. `on_ended` is called exactly once, from the loop."""

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
        self._window = RestartWindow(spec.intensity)
        self._leaving: Exit | None = None
        self._deadline: float | None = None
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
        if self._leaving is None:
            self._leaving = Shutdown(reason)
        if grace is not None:
            at = asyncio.get_running_loop().time() + grace
            self._deadline = at if self._deadline is None else min(at, self._deadline)
        self._wake()

    def submit(self, request: Request) -> None:
        """Queue a change of the tree; fails at once when the supervisor is ending."""
        if self._leaving is not None or self.task is None:
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
            if failed is None and self._leaving is None:
                self.started = True
                self._on_started()
                await self._serve()
        finally:
            # Also on a bug in this class: no child is left running without a supervisor.
            await self._stop_all()
        if self._cancelled:
            raise asyncio.CancelledError
        return failed or self._leaving or Normal()

    async def _serve(self) -> None:
        while self._leaving is None:
            if not self._inbox:
                await self._wait()
                continue
            message = self._inbox.popleft()
            if isinstance(message, Ended):
                if message.child.process is message.process:
                    await self._child_ended(message.child)
            elif isinstance(message, RetryDue):
                if message.child.due is message:
                    await self._retry(message.child)
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
            if self._leaving is not None or self._pending_abort(child):
                return None
            exit_ = self.bury(child)
            if not (isinstance(exit_, Failed) and exit_.environment):
                return Failed(ChildStartFailed(child.path, exit_))
            self._incident(child, exit_, self._group(child))
            self._schedule(child)
            if self.spec.strategy.group:
                return None
        return None

    def _task_done(self, task: asyncio.Task[Exit]) -> None:
        self.task = None
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
        path = join(self.path, spec.id)
        cell = None if isinstance(spec.start, SupervisorSpec) else self.system.add(path, spec.mailbox)
        incarnation = cell.incarnation if cell is not None else self.system.recall(path)
        child = self.children[spec.id] = Child(spec, path, cell, incarnation)
        return child

    async def start(self, child: Child) -> bool:
        """Start a child and wait until it has started; False if it failed, or if waiting became pointless."""
        self._launch(child)
        while not self._has_started(child) and child.exit is None:
            if self._leaving is not None or self._pending_abort(child):
                await self.stop_children([child], "its start was cut short")
                return False
            await self._wait()
        return self._has_started(child)  # if it has ended since, its end is in the inbox

    @staticmethod
    def _has_started(child: Child) -> bool:
        return child.process is not None and child.process.started

    def _launch(self, child: Child) -> None:
        child.cancel_retry()
        child.incarnation += 1
        child.exit = None
        child.state = State.STARTING
        process = self._process(child)
        child.process = process
        process.launch()

    def _process(self, child: Child) -> ActorProcess | Supervisor:
        start = child.spec.start

        def on_started() -> None:
            child.state = State.RUNNING
            child.started_at = asyncio.get_running_loop().time()
            self._emit(Started, child)
            self._wake()

        def on_ended(exit_: Exit) -> None:
            child.exit = child.last_exit = exit_
            ended, child.ended = child.ended, None
            if ended is not None:
                ended.set_result(exit_)
            self._emit(Exited if process.started else StartFailed, child, exit=exit_)
            self._post(Ended(child, process))

        process: ActorProcess | Supervisor
        if isinstance(start, SupervisorSpec):
            process = Supervisor(self.system, child.path, child.incarnation, start, on_started, on_ended)
        else:
            assert child.cell is not None
            child.cell.incarnation = child.incarnation
            process = ActorProcess(child.cell, start, child.spec.limits, self._ref, on_started, on_ended)
        return process

    def _pending_abort(self, child: Child) -> bool:
        """Whether a sibling has ended whose restart will include `child`."""
        return self.spec.strategy.group and any(
            isinstance(message, Ended)
            and message.child is not child
            and message.child.process is message.process
            and self._restarts(message.child)
            and child in self._group(message.child)
            for message in self._inbox
        )

    # --- a child has ended

    async def _child_ended(self, child: Child) -> None:
        restart = self._restarts(child)
        exit_ = self.bury(child)
        if restart:
            await self._restart(child, exit_)
            return
        if child.spec.restart is Restart.TEMPORARY or self.spec.strategy is Strategy.DYNAMIC:
            self.remove(child)
        if child.spec.significant:
            self._auto_shutdown()

    def _restarts(self, child: Child) -> bool:
        if child.spec.restart is Restart.TRANSIENT:
            return not isinstance(child.exit, Normal | Shutdown)
        return child.spec.restart is Restart.PERMANENT

    def bury(self, child: Child) -> Exit:
        """Deal with an ended process; what remains is the child's record."""
        exit_ = child.exit
        assert exit_ is not None
        child.process = None
        child.exit = None
        child.state = State.STOPPED
        if child.cell is not None and not child.spec.mailbox.keep:
            child.cell.clear("the actor restarts with an empty mailbox")
        return exit_

    async def _restart(self, child: Child, exit_: Exit) -> None:
        group = self._group(child)
        if not self._incident(child, exit_, group):
            await self._exhausted(child, exit_)
            return
        child.state = State.WAITING
        await self.stop_children([c for c in group if c is not child], f"{child.id} restarts")
        self._schedule(child)

    def _group(self, child: Child) -> list[Child]:
        """The children that restart when `child` does, in start order."""
        children = list(self.children.values())
        if self.spec.strategy is Strategy.ONE_FOR_ALL:
            return children
        if self.spec.strategy is Strategy.REST_FOR_ONE:
            return children[children.index(child) :]
        return [child]

    def _incident(self, child: Child, exit_: Exit, group: Iterable[Child]) -> bool:
        """Count the end of one child, and with it of its group, once; False if the budget is used up."""
        now = asyncio.get_running_loop().time()
        if child.started_at is not None and now - child.started_at >= self.spec.stable_after:
            child.failures = 0
        child.started_at = None
        child.failures += 1
        environment = isinstance(exit_, Failed) and exit_.environment
        ids = tuple(c.id for c in group if c is child or c.spec.restart is not Restart.TEMPORARY)
        self.system.emit(
            Incident(
                at=self.system.now(),
                path=self.path,
                incarnation=self.incarnation,
                child=child.id,
                environment=environment,
                restarting=ids,
            )
        )
        return environment or self._budget(child).add(now)

    def _budget(self, child: Child) -> RestartWindow:
        if self.spec.exhausted is Exhausted.ESCALATE:
            return self._window
        if child.window is None:
            child.window = RestartWindow(self.spec.intensity)
        return child.window

    async def _exhausted(self, child: Child, exit_: Exit) -> None:
        if self.spec.exhausted is Exhausted.ESCALATE:
            at = self.system.now()
            self.system.emit(Escalated(at=at, path=self.path, incarnation=self.incarnation, child=child.id))
            self._leaving = Failed(RestartsExhausted(self.path, child.id, exit_))
            return
        child.state = State.PARKED
        child.window = None
        self._emit(Parked, child)
        if self.spec.cool_off is not None:
            self._retry_in(child, self.spec.cool_off)

    def _schedule(self, child: Child) -> None:
        """Plan the restart: at once after a first failure, then with backoff. Always through the inbox, so that a stop,
        or an end that came earlier, is seen first.
        """
        delay = 0.0
        if child.failures > 1:
            random = self.system.random(f"{self.path}:backoff")
            delay = self.spec.backoff.delay(child.failures - 1, random)
        child.state = State.WAITING
        self._emit(RestartScheduled, child, delay=delay, failures=child.failures)
        self._retry_in(child, delay)

    def _retry_in(self, child: Child, delay: float) -> None:
        child.cancel_retry()
        child.due = RetryDue(child)
        child.retry = asyncio.get_running_loop().call_later(delay, self._post, child.due)

    async def _retry(self, child: Child) -> None:
        """Start the child and what restarts with it. The first that fails is retried; the rest wait for it."""
        child.cancel_retry()
        group = self._group(child)
        await self.stop_children([c for c in group if c is not child], f"{child.id} restarts")
        for member in [c for c in group if c.id in self.children]:
            member.restarts += 1
            if await self.start(member):
                continue
            if member.exit is not None and not self._pending_abort(member) and self._leaving is None:
                exit_ = self.bury(member)
                if self._incident(member, exit_, self._group(member)):
                    self._schedule(member)
                else:
                    await self._exhausted(member, exit_)
            return

    def _auto_shutdown(self) -> None:
        significant = [child for child in self.children.values() if child.spec.significant]
        all_ended = not any(child.live or child.state is State.WAITING for child in significant)
        rule = self.spec.auto_shutdown
        if rule is AutoShutdown.ANY_SIGNIFICANT or (rule is AutoShutdown.ALL_SIGNIFICANT and all_ended):
            self.stop(f"auto_shutdown {rule.value}")

    # --- stopping

    async def stop_children(self, children: Sequence[Child], why: str) -> None:
        """Stop them in reverse start order, one after the other, and forget the temporary ones."""
        for child in reversed(children):
            child.cancel_retry()
            for other in reversed(children) if self._overdue() else (child,):
                self._request_stop(other, why)
            await self._until_ended(child, why)
            child.state = State.STOPPED
            if child.spec.restart is Restart.TEMPORARY:
                self.remove(child)

    async def _stop_all(self) -> None:
        why = "the runtime stops" if self._leaving is None else _reason(self._leaving)
        if self._leaving is None:
            self._leaving = Shutdown(why)
        children = list(self.children.values())
        if self.spec.strategy is Strategy.DYNAMIC:
            for child in reversed(children):
                self._request_stop(child, why)
        await self.stop_children(children, why)

    def _request_stop(self, child: Child, why: str) -> None:
        process = child.process
        if process is None or child.exit is not None:
            return
        child.state = State.STOPPING
        left = None if self._deadline is None else max(0.0, self._deadline - asyncio.get_running_loop().time())
        if isinstance(process, Supervisor):
            process.stop(why, left)
        else:
            grace = child.spec.limits.shutdown
            process.stop(why, grace if left is None else min(grace, left))

    async def _until_ended(self, child: Child, why: str) -> None:
        """Wait for the end, which the process itself bounds; a deadline that comes nearer meanwhile is passed on."""
        passed_on = self._deadline
        while child.process is not None and child.exit is None:
            await self._wait()
            if self._deadline != passed_on:
                passed_on = self._deadline
                for other in reversed(list(self.children.values())):
                    if other.state is State.STOPPING:
                        self._request_stop(other, why)
        if child.process is not None:
            self.bury(child)

    def _overdue(self) -> bool:
        return self._deadline is not None and asyncio.get_running_loop().time() >= self._deadline

    def remove(self, child: Child) -> None:
        child.cancel_retry()
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

    async def _wait(self) -> None:
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

    def _emit(self, kind: type[Event], child: Child, **fields: object) -> None:
        common = {"at": self.system.now(), "path": child.path, "incarnation": child.incarnation}
        self.system.emit(kind(**{**common, **fields}))  # type: ignore[arg-type]


def _reason(exit_: Exit) -> str:
    return "a sibling failed too often" if isinstance(exit_, Failed) else exit_.reason
