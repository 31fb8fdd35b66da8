"""The real side of the supervisor machine: a program is played on a runtime, under virtual time, and recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from property.model_terms import Event, Exit, Leaf, Place, Spec, Sup
from support.supervision_programs import Op, Program, share

from forebay.actors import events as real
from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.exits import (
    ActorError,
    EnvironmentExit,
    Failed,
    StartTimeout,
)
from forebay.actors.exits import Exit as RealExit
from forebay.actors.process import ActorProcess, Limits
from forebay.config.values import Backoff, Intensity
from forebay.scenarios.loop import running_loop
from forebay.scenarios.trace import Trace
from forebay.scenarios.tracing import attach
from forebay.supervisors.requests import ChildStartFailed, RestartsExhausted
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import AutoShutdown, ChildSpec, Exhausted, Restart, Strategy, SupervisorSpec
from forebay.supervisors.supervisor import Supervisor

AFTERWARDS = 30.0
"""Seconds that the loop goes on after the stop, for what should have ended and has not."""


class Bug(Exception):
    """An actor's bug."""


class Outage(EnvironmentExit):
    """The world's fault."""


class StopBug(Exception):
    """A bug in on_stop."""


TAGS = {
    Bug: "bug",
    Outage: "environment",
    StopBug: "stop",
    StartTimeout: "start_timeout",
    ChildStartFailed: "child_start",
    RestartsExhausted: "exhausted",
}
FAILURES = {"bug": Bug, "environment": Outage}


class Busy:
    """Makes an actor busy for some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


async def ignoring(cancellations: int, seconds: float) -> None:
    """Sleep, and ignore so many cancellations."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while seconds > 0:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if cancellations == 0:
                raise
            cancellations -= 1
            seconds = end - loop.time()
        else:
            return


class Puppet(Actor[Any]):
    """Lives as its leaf says."""

    def __init__(self, leaf: Leaf, stage: Stage) -> None:
        self.leaf, self.stage = leaf, stage

    async def on_start(self, ctx: Context) -> None:
        self.life = self.leaf.life(ctx.incarnation)
        ctx.run("chore", asyncio.sleep(1e9))
        await ignoring(self.life.stubborn, self.life.start)
        if self.life.start_fails is not None:
            raise FAILURES[self.life.start_fails]
        if self.life.runs is not None:
            ctx.timer("end", self.life.runs, self.life.ends)

    async def on_message(self, ctx: Context, message: Any) -> None:
        self.stage.check_alive(f"{ctx.path}#{ctx.incarnation}")
        if isinstance(message, Busy):
            await ignoring(self.life.stubborn, message.seconds)
        elif message == "normal":
            ctx.stop()
        else:
            raise FAILURES[message]

    async def on_stop(self, ctx: Context, exit_: RealExit) -> None:
        self.stage.on_stop(ctx.path, ctx.incarnation)
        await ignoring(self.life.stubborn, self.life.stop)
        if self.life.stop_fails:
            raise StopBug


Streams = Callable[[str], Random]


class Share(Random):
    """The stream of one backoff."""

    def __init__(self, name: str) -> None:
        super().__init__(0)
        self._share = share(name.removesuffix(":backoff"))

    def uniform(self, a: float, b: float) -> float:
        return a + self._share * (b - a)


class Stage:
    """Plays a program. What came of it is in the attributes, in the terms of the model."""

    def __init__(self, program: Program, trace: Trace | None = None, streams: Streams | None = None) -> None:
        self.program, self.trace, self.streams = program, trace, streams or Share
        self.log: list[Event] = []
        self.trees: list[dict[str, Place]] = []
        self.answers: list[tuple[float, int, str]] = []
        self.wrongs: list[str] = []
        self.root_exit: Exit | None = None
        self.root_ended_at: float | None = None
        self.stop_seconds = 0.0
        self._ended: set[str] = set()
        self._cancelled: list[asyncio.Task[Any]] = []
        self._helpers: list[asyncio.Task[None]] = []

    async def play(self) -> None:
        loop = running_loop()
        self.runtime = Runtime(self.supervisor(self.program.tree), deadline=1e6, clock=loop.clock, streams=self.streams)
        self.runtime.events.listen(self._record)
        if self.trace is not None:
            attach(self.runtime.events, self.trace)
        starting = loop.create_task(self.runtime.start())
        for number, op in enumerate(self.program.ops):
            await asyncio.sleep(op.at - loop.time())
            self.look()
            self.apply(number, op)
        await asyncio.sleep(self.program.stop_at - loop.time())
        self.look()
        report = await self.runtime.stop(self.program.grace)
        self.stop_seconds = report.seconds
        await asyncio.gather(starting, return_exceptions=True)
        self.look_for_leftovers(set(report.zombies))
        await asyncio.sleep(AFTERWARDS)
        await asyncio.gather(*self._helpers)
        self.wrongs += [f"{task.get_name()} was not cancelled" for task in self._cancelled if not task.cancelled()]

    # --- what is done

    def apply(self, number: int, op: Op) -> None:
        match op.verb:
            case "crash":
                self.crash(op.path, op.subject)
            case "crash both":
                self.crash(op.path, "bug")
                self.crash(op.subject, "bug")
            case "finish" | "busy":
                process = self.process(op.path)
                if isinstance(process, ActorProcess) and process.started and self.idle(process):
                    process.cell.mailbox.put(Busy(op.subject) if op.verb == "busy" else "normal")
            case "cancel":
                self.cancel(op.path)
            case _:
                self._helpers.append(asyncio.get_running_loop().create_task(self.ask(number, op)))

    def process(self, path: str) -> ActorProcess | Supervisor | None:
        found: Any = self.runtime._root
        for part in path.strip("/").split("/") if path != "/" else ():
            child = found.children.get(part) if isinstance(found, Supervisor) else None
            found = child.process if child is not None else None
        return found if found is not None and found.task is not None else None

    def idle(self, process: ActorProcess) -> bool:
        return process.exit is None and process.cell.mailbox.waiter is not None

    def crash(self, path: str, kind: str) -> None:
        process = self.process(path)
        if isinstance(process, ActorProcess) and process.started and process.exit is None:
            self.runtime.inject(path, FAILURES[kind]())

    def cancel(self, path: str) -> None:
        process = self.process(path)
        actor = process.actor if isinstance(process, ActorProcess) else None
        stubborn = isinstance(actor, Puppet) and actor.life.stubborn
        if process is not None and process.task is not None and not stubborn:
            self._cancelled.append(process.task)
            process.task.cancel()

    async def ask(self, number: int, op: Op) -> None:
        try:
            await self.asked(op)
        except ActorError as error:
            answer = type(error).__name__
        else:
            answer = "ok"
        self.answers.append((asyncio.get_running_loop().time(), number, answer))

    def asked(self, op: Op) -> Coroutine[Any, Any, Any]:
        handle = self.runtime.supervisor(op.path)
        match op.verb:
            case "start":
                return handle.start_child(self.child(op.subject))
            case "terminate":
                return handle.terminate_child(op.subject)
            case "restart":
                return handle.restart_child(op.subject)
        return handle.delete_child(op.subject)

    # --- what is seen

    def look(self) -> None:
        """Take a picture of the tree, and see that nothing of an ended incarnation runs."""
        self.trees.append(
            {
                node.path: Place(node.state.value, node.incarnation, node.restarts, node.failures)
                for node in self.runtime.tree().walk()
                if node.path != "/"
            }
        )
        zombies = self.runtime.system.zombies
        for task in asyncio.all_tasks():
            label = task.get_name().removesuffix("/chore")
            if label in self._ended and task not in zombies:
                self.wrongs.append(f"task {task.get_name()} is left of an ended incarnation")

    def look_for_leftovers(self, zombies: set[str]) -> None:
        self.root_exit = exit_of(self.runtime._task.result())
        left = asyncio.all_tasks() - {asyncio.current_task()} - set(self._helpers)
        self.wrongs += [f"task {t.get_name()} is left after the stop" for t in left if t.get_name() not in zombies]

    def check_alive(self, label: str) -> None:
        if label in self._ended:
            self.wrongs.append(f"{label} handled a message after its end")

    def on_stop(self, path: str, incarnation: int) -> None:
        self.log.append(Event(asyncio.get_running_loop().time(), "OnStop", path, incarnation))

    def _record(self, event: real.Event) -> None:
        kind = type(event).__name__
        detail: tuple[Any, ...]
        match event:
            case real.Started() | real.Parked():
                detail = ()
            case real.StartFailed(exit=exit_) | real.Exited(exit=exit_):
                detail = (exit_of(exit_),)
                self._ended.add(f"{event.path}#{event.incarnation}")
            case real.Incident():
                detail = (event.child, event.environment, event.restarting)
            case real.RestartScheduled():
                detail = (round(event.delay, 6), event.failures)
            case real.Escalated():
                detail = (event.child,)
            case real.Zombie():
                if event.task.endswith("/chore"):
                    self.wrongs.append(f"task {event.task} is left at its actor's end")
                return
            case _:
                return
        self.log.append(Event(event.at, kind, event.path, event.incarnation, detail))

    # --- the tree, in forebay's terms

    def supervisor(self, sup: Sup) -> SupervisorSpec:
        return SupervisorSpec(
            strategy=Strategy(sup.strategy),
            children=tuple(self.child(spec) for spec in sup.children),
            intensity=Intensity(sup.max_restarts, sup.period),
            backoff=Backoff(sup.base, sup.cap),
            stable_after=sup.stable_after,
            auto_shutdown=AutoShutdown(sup.auto_shutdown),
            exhausted=Exhausted.PARK if sup.park else Exhausted.ESCALATE,
            cool_off=sup.cool_off,
            max_children=sup.max_children,
        )

    def child(self, spec: Spec) -> ChildSpec:
        body = spec.body
        if isinstance(body, Sup):
            return ChildSpec(spec.id, self.supervisor(body), Restart(spec.restart), spec.significant)
        limits = Limits(start=body.start_limit, shutdown=body.grace)
        return ChildSpec(spec.id, lambda: Puppet(body, self), Restart(spec.restart), spec.significant, limits)


def exit_of(exit_: RealExit) -> Exit:
    if isinstance(exit_, Failed):
        return "failed", TAGS.get(type(exit_.error), repr(exit_.error))
    return type(exit_).__name__.lower(), ""
