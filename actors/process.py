"""One incarnation of an actor: a task with a beginning, a middle and an end that is a value.

This is the child runner. Nothing that an actor raises leaves it as an exception; `outcome` is the one place where any
exception is caught. One ladder bounds every end:

    stop(grace)          current message, what `drain` keeps, on_stop          -> Shutdown
    grace has passed     CancelledError where it waits, then on_stop           -> Killed
    + KILL_PATIENCE      CancelledError again: on_stop and tasks are cut short -> Killed
    + KILL_PATIENCE      it still runs: it is cut off and reported             -> Abandoned

So an end takes at most grace + 2 x KILL_PATIENCE, whatever the actor does, and whoever waits for it just waits. An actor
that fails by itself climbs the same ladder, with its own grace for on_stop; one whose start or handler overran its limit
begins at the first cancellation. A task that was cut off can finish its handler, but reaches nothing through its context.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from attrs import frozen

from forebay.actors.actor import Actor
from forebay.actors.ask import Ask
from forebay.actors.cell import Cell, Down
from forebay.actors.context import Context, SupervisorLike
from forebay.actors.events import Zombie
from forebay.actors.exits import (
    Abandoned,
    Exit,
    Failed,
    HandlerTimeout,
    Killed,
    Normal,
    Shutdown,
    StartTimeout,
    UnexpectedCancellation,
)
from forebay.actors.mailbox import ActorStopped
from forebay.actors.ref import ActorDied, owner
from forebay.actors.signals import ExitSignal, StopRequest, TaskFailed
from forebay.actors.timers import Fired, Timers
from forebay.actors.waiting import until

KILL_PATIENCE: Final = 0.5
"""Seconds between two rungs of the forced ladder."""

OUT_OF_TIME: Final = "its time to stop had passed"

MESSAGES_PER_TURN: Final = 64
"""After so many messages an actor lets others run, even if none of its handlers ever waited."""


@frozen
class Limits:
    """What a child spec grants one actor, in seconds; None is no limit.

    `start` bounds on_start, `shutdown` an orderly end. A handler over `soft` is reported, one over `hard` is cancelled
    and fails the actor. With `drain`, what is in the mailbox when the stop is asked for is handled first.
    """

    start: float | None = 30.0
    shutdown: float = 5.0
    soft: float = 5.0
    hard: float | None = None
    drain: bool = False


class ActorProcess:
    """Runs one incarnation. `on_ended` is called exactly once, from the loop, never from inside the task."""

    def __init__(
        self,
        cell: Cell,
        factory: Callable[[], Actor[Any]],
        limits: Limits,
        supervisor: SupervisorLike,
        on_started: Callable[[], None],
        on_ended: Callable[[Exit], None],
    ) -> None:
        self.cell = cell
        self.factory = factory
        self.actor: Actor[Any] | None = None
        self.limits = limits
        self.supervisor = supervisor
        self.incarnation = cell.incarnation
        self.started = False
        self.stop_reason: str | None = None
        self.exit: Exit | None = None
        self.task: asyncio.Task[None] | None = None
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.timers = Timers(self._timer_fired)
        self.context = Context(self)
        self._message: object = None
        self._ladder: asyncio.TimerHandle | None = None
        self._end_by: float | None = None
        self._rung = 0
        self._tidying = False
        self._cause: BaseException | str | None = None
        self._adopted: dict[Ask, None] = {}
        self._on_started = on_started
        self._on_ended = on_ended

    @property
    def label(self) -> str:
        """The task name: path and incarnation."""
        return f"{self.cell.path}#{self.incarnation}"

    # --- from the supervisor

    def launch(self) -> None:
        """Begin. The next news is `on_started` or `on_ended`."""
        self.cell.process = self
        self.task = asyncio.get_running_loop().create_task(self._main(), name=self.label)
        self.task.add_done_callback(self._task_done)

    def stop(self, reason: str, grace: float) -> None:
        """Ask for an orderly end within `grace` seconds; asked again, only an earlier end counts.

        A process that has not started yet is cancelled at once, and so is any when there is no grace.
        """
        if self.stop_reason is None:
            self.stop_reason = reason
            if self.started:
                self._leave(Shutdown(reason))
            elif grace > 0:
                self._interrupt(reason)
        self._bound(grace)

    def finish(self, reason: str) -> None:
        """Ask for an orderly end from inside, with exit `Normal`."""
        if self.stop_reason is None and self.task is not None:
            self.stop_reason = reason
            self._leave(Normal(reason))

    def fail(self, error: Exception) -> None:
        """Make the actor fail with `error` at its next message boundary."""
        self.cell.mailbox.put_system(ExitSignal(error))

    def overran(self, limit: float) -> None:
        """Cancel the handler that ran over its hard limit; the actor fails with `HandlerTimeout`."""
        message = self._message.message if isinstance(self._message, Ask) else self._message
        self._force(HandlerTimeout(limit, type(message).__name__))

    def _leave(self, exit_: Exit) -> None:
        if self.limits.drain:
            self.cell.mailbox.close("it is stopping")
        self.cell.mailbox.put_system(StopRequest(exit_))

    def _interrupt(self, cause: BaseException | str) -> None:
        if self.task is not None:
            if not isinstance(self._cause, BaseException):
                self._cause = cause
            self.task.cancel()

    def _bound(self, grace: float) -> None:
        """Begin to climb in `grace` seconds, unless an earlier time is set."""
        at = asyncio.get_running_loop().time() + grace
        if self._end_by is None or at < self._end_by:
            self._end_by = at
            self._arm()

    def _arm(self) -> None:
        if self._rung > 0 or self._end_by is None:
            return
        self._disarm()
        loop = asyncio.get_running_loop()
        if loop.time() < self._end_by:
            self._ladder = loop.call_at(self._end_by, self._climb, OUT_OF_TIME)
        else:
            self._climb(OUT_OF_TIME)

    def _disarm(self) -> None:
        if self._ladder is not None:
            self._ladder.cancel()
            self._ladder = None

    def _force(self, cause: BaseException) -> None:
        """Cancel for a reason of the actor's own, and climb on if that is ignored."""
        if self._rung == 0:
            self._climb(cause)
        else:
            self._interrupt(cause)

    def _climb(self, cause: BaseException | str) -> None:
        if self.task is None or self.task.done():
            return
        self._disarm()
        self._rung += 1
        if self._rung > 2:
            self._abandon(self.task)
            return
        if self._rung == 2:
            self._cancel_tasks()
        if self._rung == 2 or not self._tidying:  # the actor is through, and its tasks were cancelled a moment ago
            self._interrupt(cause)
        self._ladder = asyncio.get_running_loop().call_later(KILL_PATIENCE, self._climb, OUT_OF_TIME)

    def _come_down(self) -> None:
        """The cancellation for a limit was obeyed: on_stop has its own time."""
        self._rung = 0
        self._disarm()
        self._arm()

    def _abandon(self, task: asyncio.Task[None]) -> None:
        """Give up on a task that ignores cancellation; it is reported and never waited for."""
        self._zombies([task, *(t for t in self.tasks.values() if not t.done())])
        self._end(Abandoned())

    # --- inside the task

    async def _main(self) -> None:
        owner.set(self.cell)
        exit_ = await self.outcome(self._live())
        if self._cut_off():
            return
        self.exit = exit_
        self._bound(self.limits.shutdown)
        self._begin_end(exit_)
        if self.started:
            last = await self.outcome(self._stop(exit_))
            if self._cut_off():
                return
            if isinstance(last, Failed | Killed) and not isinstance(exit_, Failed):
                self.exit = last
        await self._end_tasks()
        if asyncio.current_task().cancelling():  # type: ignore[union-attr]
            raise asyncio.CancelledError  # the value is kept; the cancellation goes on its way

    def _cut_off(self) -> bool:
        """Whether this task was abandoned and goes on for nobody."""
        return self.task is None

    async def outcome(self, life: Coroutine[Any, Any, Exit]) -> Exit:
        """Turn however `life` ends into a value. The one place where every exception is caught."""
        try:
            return await life
        except asyncio.CancelledError:
            return self._cancelled()
        except Exception as error:  # noqa: BLE001 - the child's end becomes a value here
            return Failed(error)

    def _cancelled(self) -> Exit:
        cause, self._cause = self._cause, None
        task = asyncio.current_task()
        assert task is not None
        if isinstance(cause, BaseException):
            task.uncancel()
            self._come_down()
            return Failed(cause)
        if cause is None and not task.cancelling():
            return Failed(UnexpectedCancellation("a CancelledError surfaced that nobody had sent"))
        if self.stop_reason is not None and not self.started:
            return Shutdown(self.stop_reason)
        return Killed(cause or "cancelled from outside")

    async def _live(self) -> Exit:
        self.actor = self.factory()
        await self._start(self.actor)
        if self._cause is not None:
            raise asyncio.CancelledError  # on_start swallowed it
        self.started = True
        self._on_started()
        return await self._serve(self.actor)

    async def _start(self, actor: Actor[Any]) -> None:
        limit = self.limits.start
        if limit is None:
            await actor.on_start(self.context)
            return
        loop = asyncio.get_running_loop()
        expiry = loop.call_later(limit, self._force, StartTimeout(limit))
        try:
            await actor.on_start(self.context)
        finally:
            expiry.cancel()

    async def _serve(self, actor: Actor[Any]) -> Exit:
        mailbox, context, busy = self.cell.mailbox, self.context, self.cell.system.busy
        user, on_message, cell = mailbox.user, actor.on_message, self.cell
        leaving: Exit | None = None
        turns, clock = MESSAGES_PER_TURN, asyncio.get_running_loop().time
        busy.add(self)
        awake = clock()
        while self.task is not None:
            if mailbox.system:
                self._message = None
                leaving = await self._on_system(mailbox.system.popleft(), actor) or leaving
                if leaving is not None and not self.limits.drain:
                    return leaving
            elif user:
                message = self._message = user.popleft()
                if mailbox.room:
                    mailbox.make_room()
                if message.__class__ is not Ask:
                    await on_message(context, message)
                elif not message.future.done():  # if it is, the asker has gone, and the work would serve nobody
                    context.asked = message
                    await on_message(context, message.message)
                    context.asked = None
                cell.handled += 1
                turns -= 1
                if not turns:
                    turns = MESSAGES_PER_TURN
                    cell.busy += clock() - awake
                    await self._give_way()
                    awake = clock()
            elif leaving is not None:
                return leaving
            else:
                self._message = None
                busy.discard(self)
                cell.busy += clock() - awake
                await mailbox.wait()
                awake = clock()
                busy.add(self)
                mailbox.high_water = max(mailbox.high_water, len(user))
        return Abandoned()

    async def _give_way(self) -> None:
        mailbox = self.cell.mailbox
        self._message = None
        mailbox.high_water = max(mailbox.high_water, len(mailbox.user))
        await asyncio.sleep(0)

    async def _on_system(self, message: object, actor: Actor[Any]) -> Exit | None:
        if isinstance(message, StopRequest):
            return message.exit
        if isinstance(message, TaskFailed | ExitSignal):
            raise message.error
        if isinstance(message, Fired):
            if self.timers.accept(message):
                await self._handle(message.message, actor)
                self.timers.rearm(message)
        elif isinstance(message, Down) and self.context.expects(message.monitor):
            await self._handle(message, actor)
        return None

    async def _handle(self, message: object, actor: Actor[Any]) -> None:
        self._message = message
        await actor.on_message(self.context, message)
        self.cell.handled += 1
        self._message = None

    async def _stop(self, exit_: Exit) -> Exit:
        assert self.actor is not None
        await self.actor.on_stop(self.context, exit_)
        return exit_

    # --- owned tasks

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a task of this incarnation."""
        if self.task is None:
            work.close()
            raise ActorStopped(self.cell.path, None, "this incarnation has ended")
        if name in self.tasks:
            work.close()
            raise ValueError(f"{self.cell.path} runs a task {name!r} already")
        task = asyncio.get_running_loop().create_task(work, name=f"{self.label}/{name}")
        self.tasks[name] = task
        task.add_done_callback(lambda done: self._spawned_done(name, done))

    def _spawned_done(self, name: str, task: asyncio.Task[None]) -> None:
        self.tasks.pop(name, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and self.cell.process is self:
            self.cell.mailbox.put_system(TaskFailed(error))

    def _cancel_tasks(self) -> list[asyncio.Task[None]]:
        tasks = list(reversed(self.tasks.values()))
        for task in tasks:
            task.cancel()
        return tasks

    async def _end_tasks(self) -> None:
        self._tidying = True
        for task in self._cancel_tasks():
            await until(task)

    def _timer_fired(self, fired: Fired) -> None:
        if self.cell.process is self:
            self.cell.mailbox.put_system(fired)

    # --- end

    def adopt(self, ask: Ask) -> None:
        """Answer for an ask beyond its handler."""
        self._adopted[ask] = None
        ask.future.add_done_callback(lambda _: self._adopted.pop(ask, None))

    def _begin_end(self, exit_: Exit) -> None:
        """Fix what the end must not change: no timer fires any more, and the message in hand is spoken for."""
        self.timers.clear()
        self.cell.system.busy.discard(self)
        message, self._message = self._message, None
        self.context.asked = None
        if isinstance(exit_, Normal | Shutdown) or message is None:
            return
        if isinstance(message, Ask):
            message.fail(ActorDied(self.cell.path, exit_))
            message = message.message
        self.cell.dead_letter(message, "its handler did not finish")

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if self.task is None:
            return  # abandoned long ago, and now it has ended after all
        exit_ = self.exit
        if task.cancelled():
            exit_ = exit_ or self._cancelled_early()
        elif (error := task.exception()) is not None:
            exit_ = Failed(error)  # KeyboardInterrupt or SystemExit; it also leaves the loop
        assert exit_ is not None
        self._zombies([t for t in self.tasks.values() if not t.done()])
        self._end(exit_)

    def _cancelled_early(self) -> Exit:
        """The exit of a task that was cancelled before its first step."""
        return Killed("cancelled from outside") if self.stop_reason is None else Shutdown(self.stop_reason)

    def _end(self, exit_: Exit) -> None:
        self.task = None
        if self._rung > 0 and isinstance(exit_, Normal | Shutdown):
            exit_ = Killed(OUT_OF_TIME)
        self.exit = exit_
        self._disarm()
        self._begin_end(exit_)
        self.context.release_monitors()
        for ask in tuple(self._adopted):
            ask.fail(ActorDied(self.cell.path, exit_))
        if self.cell.mailbox.system is not None:
            self.cell.mailbox.system.clear()
        self.cell.mailbox.waiter = None
        self.cell.mailbox.open()  # draining had closed it; what comes now is for the next incarnation
        self.cell.ended(exit_)
        self._on_ended(exit_)

    def _zombies(self, tasks: list[asyncio.Task[None]]) -> None:
        system = self.cell.system
        for task in tasks:
            system.zombies.add(task)
            task.add_done_callback(system.zombies.discard)
            system.emit(
                Zombie(
                    at=system.now(),
                    path=self.cell.path,
                    incarnation=self.incarnation,
                    task=task.get_name(),
                )
            )
