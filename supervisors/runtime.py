"""The runtime: a tree of actors inside somebody else's asyncio program.

It takes nothing that is the host's: no event loop policy, no signal handler, no logging set-up, no exit. The tree runs in
a task of its own, so a cancellation of the host's task reaches it as a request, never as an exception inside it.
"""

from __future__ import annotations

import asyncio
import enum
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import anyio
from attrs import frozen

from forebay.actors.events import Event, EventStream, Exited, StartFailed
from forebay.actors.exits import Abandoned, ActorError, Exit, Failed, Killed, describe
from forebay.actors.ref import Ref
from forebay.actors.snapshot import Node, State
from forebay.actors.system import System
from forebay.actors.waiting import until
from forebay.actors.watchdog import Watchdog
from forebay.backends.clock import SystemClock
from forebay.backends.ports import Clock
from forebay.supervisors.control import SupervisorRef
from forebay.supervisors.requests import NoSuchChild
from forebay.supervisors.spec import SupervisorSpec, check_tree
from forebay.supervisors.streams import seeded_streams
from forebay.supervisors.supervisor import Supervisor

if TYPE_CHECKING:
    from forebay.config import Config
    from forebay.jobs import Registry
    from forebay.supervisors.job_runtime import JobRuntime


class Resource(Protocol):
    """Something the tree stands on: started before it, stopped after it, also when its start has failed."""

    async def start(self) -> None:
        """Be ready or raise."""

    async def stop(self) -> None:
        """Let go within a bounded time."""


class RuntimeStartFailed(ActorError):
    """The tree did not start; nothing of it is left running. `exit` says why."""

    def __init__(self, exit_: Exit) -> None:
        super().__init__(f"the runtime did not start: {describe(root_cause(exit_))}")
        self.exit = exit_


class RuntimeFailed(ActorError):
    """The tree gave up: a failure escalated to the root. Raised where the runtime's block is left, and by `wait`."""

    def __init__(self, exit_: Exit) -> None:
        super().__init__(f"the runtime has failed: {describe(exit_)}")
        self.exit = exit_


def root_cause(exit_: Exit) -> Exit:
    """Follow failures of supervisors down to the child that began it."""
    while isinstance(exit_, Failed) and isinstance(inner := getattr(exit_.error, "exit", None), Exit):
        exit_ = inner
    return exit_


class Ending(enum.Enum):
    """How a stop went, the worst of all actors."""

    CLEAN = "clean"
    FORCED = "forced"
    ABANDONED = "abandoned"


@frozen
class StopReport:
    """What became of a stop. `seconds` is how long it took; `forced` and `abandoned` are paths."""

    seconds: float
    forced: tuple[str, ...]
    abandoned: tuple[str, ...]
    zombies: tuple[str, ...]

    @property
    def ending(self) -> Ending:
        """The stop in one word."""
        if self.abandoned or self.zombies:
            return Ending.ABANDONED
        return Ending.FORCED if self.forced else Ending.CLEAN


class Runtime:
    """Run a tree: `async with Runtime(tree) as runtime: ...`.

    `deadline` (seconds) bounds every stop: past it, what has not ended is cancelled, then abandoned, within one second
    more. A tree whose orderly stop cannot fit is refused with `InvalidTree`. `seed` makes the random streams
    reproducible; without one it is drawn from the operating system.
    """

    def __init__(
        self,
        tree: SupervisorSpec,
        *,
        deadline: float = 30.0,
        clock: Clock | None = None,
        seed: int | None = None,
        streams: Callable[[str], Random] | None = None,
        resources: Sequence[Resource] = (),
    ) -> None:
        check_tree(tree, deadline=deadline)
        self._tree = tree
        self._deadline = deadline
        if streams is None:
            streams = seeded_streams(int.from_bytes(os.urandom(8), "big") if seed is None else seed)
        self.system = System(clock or SystemClock(), streams)
        self._resources = tuple(resources)
        self._root: Supervisor | None = None
        self._task: asyncio.Task[Exit] | None = None
        self._started: asyncio.Future[None] | None = None
        self._stop_asked_at: float | None = None
        self._grace: float | None = None
        self._exits: list[tuple[str, Exit]] = []
        self.report: StopReport | None = None

    @staticmethod
    def from_config(
        source: Config | Path | str | Mapping[str, Any],
        *,
        registry: Registry | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
    ) -> JobRuntime:
        """Return the runtime of a whole job queue: from a YAML file's path, a mapping, or a `Config`.

        Handlers come from `registry`, by default the one that `@job` fills; the modules under `workers.handlers` are
        imported. `${VAR}` is read from `environ` (by default this process's). Raises `ConfigError`, `HandlersNotLoaded`.
        """
        from forebay.supervisors.job_runtime import JobRuntime, read_config  # noqa: PLC0415 - it is a Runtime itself

        return JobRuntime(read_config(source, environ), registry=registry, clock=clock, seed=seed)

    # --- life cycle

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        self._raise_failure(error)

    async def start(self) -> None:
        """Start resources and tree; return when every child has started. Raises `RuntimeStartFailed`, or what a
        resource raised. Prefer `async with`.
        """
        if self._task is not None:
            raise ActorError("this runtime was started before; make a new one")
        self.system.now()  # a clock that this loop fences off (virtual time) is an error here, not somewhere in the tree
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        self._task = loop.create_task(self._main(), name="forebay")
        self._task.add_done_callback(lambda _: self._set_started())
        try:
            await until(self._started)
        except asyncio.CancelledError:
            await self.stop(0.0)
            raise
        if self._task.done():
            exit_ = self._task.result()
            raise RuntimeStartFailed(exit_)

    async def stop(self, grace: float | None = None) -> StopReport:
        """Stop in order within `grace` seconds (by default the runtime's deadline); return how it went.

        Safe to call again. A cancellation that comes meanwhile is raised when the stop is over, and not before: every
        further one is absorbed until then, which the deadline bounds.
        """
        if self._task is None:
            raise ActorError("this runtime was never started")
        self._request_stop(self._deadline if grace is None else grace)
        cancelled = False
        with anyio.CancelScope(shield=True):  # holds off the host's anyio scopes; native cancels are caught below
            while not self._task.done():
                try:
                    await until(self._task)
                except asyncio.CancelledError:
                    cancelled = True
        if cancelled:
            raise asyncio.CancelledError
        assert self.report is not None
        return self.report

    async def wait(self) -> None:
        """Return when the tree has stopped by itself or by `stop`. Raises `RuntimeFailed` if it gave up."""
        if self._task is None:
            raise ActorError("this runtime was never started")
        await until(self._task)
        self._raise_failure(None)

    def _request_stop(self, grace: float) -> None:
        loop = asyncio.get_running_loop()
        if self._stop_asked_at is None:
            self._stop_asked_at = loop.time()
        self._grace = grace if self._grace is None else min(grace, self._grace)
        if self._root is not None:
            self._root.stop("the runtime stops", grace)

    async def _main(self) -> Exit:
        watchdog = Watchdog(self.system)
        self.system.events.listen(self._note_exit)
        try:
            # The stack stops every resource that was begun, the last first, also when one of them fails to stop.
            async with AsyncExitStack() as resources:
                for resource in self._resources:
                    resources.push_async_callback(resource.stop)
                    await resource.start()
                resources.callback(self.system.expiry.close)
                resources.callback(watchdog.stop)
                watchdog.start()
                return await self._run_root()
        finally:
            self.system.events.unlisten(self._note_exit)
            self._write_report()

    async def _run_root(self) -> Exit:
        ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._root = Supervisor(self.system, "/", 1, self._tree, self._set_started, ended.set_result)
        self._root.launch()
        if self._grace is not None:
            self._root.stop("the runtime stops", self._grace)
        while not ended.done():
            try:
                await until(ended)
            except asyncio.CancelledError:
                # asyncio.run cancels every task at its end; the root sees the same and stops without grace.
                self._request_stop(0.0)
        return ended.result()

    def _set_started(self) -> None:
        if self._started is not None and not self._started.done():
            self._started.set_result(None)

    def _note_exit(self, event: Event) -> None:
        if isinstance(event, Exited | StartFailed) and self._stop_asked_at is not None:
            self._exits.append((event.path, event.exit))

    def _write_report(self) -> None:
        now = asyncio.get_running_loop().time()
        self.report = StopReport(
            seconds=0.0 if self._stop_asked_at is None else now - self._stop_asked_at,
            forced=tuple(path for path, exit_ in self._exits if isinstance(exit_, Killed)),
            abandoned=tuple(path for path, exit_ in self._exits if isinstance(exit_, Abandoned)),
            zombies=tuple(sorted(task.get_name() for task in self.system.zombies)),
        )

    def _raise_failure(self, error: BaseException | None) -> None:
        assert self._task is not None
        if self._task.cancelled():
            return
        exit_ = self._task.result()
        if isinstance(exit_, Failed):
            raise RuntimeFailed(exit_) from error

    # --- looking

    @property
    def events(self) -> EventStream:
        """Everything that happens in the tree."""
        return self.system.events

    def tree(self) -> Node:
        """Return the tree as it is now; no actor is disturbed."""
        root = self._root
        running = root is not None and root.task is not None
        return Node(
            path="/",
            kind="supervisor",
            state=State.RUNNING if running else State.STOPPED,
            incarnation=1,
            strategy=self._tree.strategy.value,
            children=root.nodes() if root is not None and running else (),
        )

    def ref(self, path: str) -> Ref[Any]:
        """Return the address of an actor. Raises `LookupError`."""
        return self.system.lookup(path)

    def supervisor(self, path: str = "/") -> SupervisorRef:
        """Return the handle of a running supervisor. Raises `NoSuchChild`."""
        found = self._root
        for part in [p for p in path.split("/") if p]:
            child = None if found is None else found.children.get(part)
            process = None if child is None else child.process
            found = process if isinstance(process, Supervisor) else None
        if found is None:
            raise NoSuchChild(f"no supervisor runs at {path}")
        return SupervisorRef(found)

    def inject(self, path: str, error: Exception) -> None:
        """Make the actor at `path` fail with `error` at its next message boundary, as if its handler had raised it.

        For trying out what a failure does. Raises `LookupError` if no actor runs there.
        """
        process = self.system.cell(path).process
        if process is None:
            raise LookupError(f"{path} is not running")
        process.fail(error)
