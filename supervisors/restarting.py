"""What a supervisor makes of a child's end: who restarts, whether the budget holds, and when (R2 to R9, R11)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from forebay.actors.events import Escalated, Incident, Parked, RestartScheduled
from forebay.actors.exits import Exit, Failed, Normal, Shutdown
from forebay.actors.snapshot import State
from forebay.supervisors.requests import RestartsExhausted
from forebay.supervisors.spec import AutoShutdown, Exhausted, Restart, Strategy
from forebay.supervisors.stopping import stop_children
from forebay.supervisors.window import RestartWindow

if TYPE_CHECKING:
    from forebay.supervisors.child import Child
    from forebay.supervisors.supervisor import Supervisor


async def child_ended(supervisor: Supervisor, child: Child) -> None:
    """Act on the end of a child that had started."""
    restart = will_restart(child)
    exit_ = supervisor.bury(child)
    if restart:
        await _restart(supervisor, child, exit_)
        return
    if child.spec.restart is Restart.TEMPORARY or supervisor.spec.strategy is Strategy.DYNAMIC:
        supervisor.remove(child)
    if child.spec.significant:
        _auto_shutdown(supervisor)


def start_failed(supervisor: Supervisor, child: Child) -> None:
    """Act on a failed start: it is one more incident, and this child, not its group, is tried again."""
    exit_ = supervisor.bury(child)
    if _incident(supervisor, child, exit_):
        _schedule(supervisor, child)
    else:
        _exhausted(supervisor, child, exit_)


async def restart_now(supervisor: Supervisor, child: Child) -> None:
    """Start the child and what restarts with it."""
    child.cancel_retry()  # not left to its launch: one before it in the group may fail to start, and is waited for then
    members = group(supervisor, child)
    await stop_children(supervisor, [c for c in members if c is not child], f"{child.id} restarts")
    await start_group(supervisor, [c for c in members if c.id in supervisor.children])


async def start_group(supervisor: Supervisor, members: Iterable[Child]) -> None:
    """Start them in order. The first that fails is retried; the rest wait for it."""
    for member in members:
        if supervisor.start_is_pointless(member):
            return
        member.restarts += 1
        if await supervisor.start(member):
            continue
        if member.exit is not None and not supervisor.start_is_pointless(member):
            start_failed(supervisor, member)
        return


def will_restart(child: Child) -> bool:
    """Whether a child that has ended is one to start again."""
    if child.spec.restart is Restart.TRANSIENT:
        return not isinstance(child.exit, Normal | Shutdown)
    return child.spec.restart is Restart.PERMANENT


def group(supervisor: Supervisor, child: Child) -> list[Child]:
    """The children that restart when `child` does, in start order."""
    children = list(supervisor.children.values())
    if supervisor.spec.strategy is Strategy.ONE_FOR_ALL:
        return children
    if supervisor.spec.strategy is Strategy.REST_FOR_ONE:
        return children[children.index(child) :]
    return [child]


def leader(supervisor: Supervisor, child: Child) -> Child:
    """The child for whose planned restart `child` waits; itself if there is none."""
    planned = (c for c in supervisor.children.values() if c.retry is not None and child in group(supervisor, c))
    return next(planned, child)


async def _restart(supervisor: Supervisor, child: Child, exit_: Exit) -> None:
    if not _incident(supervisor, child, exit_):
        _exhausted(supervisor, child, exit_)
        return
    child.state = State.WAITING
    others = [c for c in group(supervisor, child) if c is not child]
    await stop_children(supervisor, others, f"{child.id} restarts")
    if supervisor.leaving is None:
        _schedule(supervisor, child)


def _incident(supervisor: Supervisor, child: Child, exit_: Exit) -> bool:
    """Count the end of one child, and with it of its group, once; False if the budget is used up."""
    child.failures += 1
    environment = isinstance(exit_, Failed) and exit_.environment
    restarting = (c.id for c in group(supervisor, child) if c.spec.restart is not Restart.TEMPORARY)
    supervisor.emit(Incident, child=child.id, environment=environment, restarting=tuple(restarting))
    return environment or _budget(supervisor, child).add(asyncio.get_running_loop().time())


def _budget(supervisor: Supervisor, child: Child) -> RestartWindow:
    if supervisor.spec.exhausted is Exhausted.ESCALATE:
        return supervisor.window
    if child.window is None:
        child.window = RestartWindow(supervisor.spec.intensity)
    return child.window


def _exhausted(supervisor: Supervisor, child: Child, exit_: Exit) -> None:
    if supervisor.spec.exhausted is Exhausted.ESCALATE:
        supervisor.emit(Escalated, child=child.id)
        supervisor.leaving = Failed(RestartsExhausted(supervisor.path, child.id, exit_))
        return
    child.state = State.PARKED
    child.window = None
    supervisor.emit_of(child, Parked)
    if supervisor.spec.cool_off is not None:
        supervisor.retry_in(child, supervisor.spec.cool_off)


def _schedule(supervisor: Supervisor, child: Child) -> None:
    """Plan the restart: at once after a first failure, then with backoff. Always through the inbox, so that a stop,
    or an end that came earlier, is seen first.
    """
    delay = 0.0
    if child.failures > 1:
        random = supervisor.system.random(f"{child.path}#{child.incarnation}:backoff")
        delay = supervisor.spec.backoff.delay(child.failures - 1, random)
    for member in group(supervisor, child):
        if not member.live:
            member.state = State.WAITING
    supervisor.emit_of(child, RestartScheduled, delay=delay, failures=child.failures)
    supervisor.retry_in(child, delay)


def _auto_shutdown(supervisor: Supervisor) -> None:
    significant = [child for child in supervisor.children.values() if child.spec.significant]
    all_ended = not any(child.live or child.state in (State.WAITING, State.PARKED) for child in significant)
    rule = supervisor.spec.auto_shutdown
    if rule is AutoShutdown.ANY_SIGNIFICANT or (rule is AutoShutdown.ALL_SIGNIFICANT and all_ended):
        supervisor.stop(f"auto_shutdown {rule.value}")
