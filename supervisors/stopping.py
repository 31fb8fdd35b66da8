"""How a supervisor stops its children: in reverse start order, bounded by their processes and by one deadline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forebay.actors.exits import Exit, Failed, Shutdown
from forebay.actors.process import ActorProcess
from forebay.actors.snapshot import State
from forebay.supervisors.spec import Restart, Strategy

if TYPE_CHECKING:
    from forebay.supervisors.child import Child
    from forebay.supervisors.supervisor import Supervisor


async def stop_children(supervisor: Supervisor, children: Sequence[Child], why: str) -> None:
    """Stop them in reverse start order, one after the other, and forget the temporary ones."""
    for child in reversed(children):
        child.cancel_retry()
        request_stop(supervisor, child, why)
        await _until_ended(supervisor, child, why)
        child.state = State.STOPPED
        if child.spec.restart is Restart.TEMPORARY:
            supervisor.remove(child)


async def stop_all(supervisor: Supervisor) -> None:
    """Stop every child, those of a dynamic supervisor at the same time. Whatever follows, nothing starts any more."""
    if supervisor.leaving is None:
        supervisor.leaving = Shutdown("the runtime stops")
    why = _reason(supervisor.leaving)
    children = list(supervisor.children.values())
    if supervisor.spec.strategy is Strategy.DYNAMIC:
        for child in children:
            request_stop(supervisor, child, why)
    await stop_children(supervisor, children, why)


def request_stop(supervisor: Supervisor, child: Child, why: str) -> None:
    """Ask a child that runs to end; asked again, only an earlier end counts."""
    process = child.process
    if process is None or child.exit is not None:
        return
    child.state = State.STOPPING
    left = supervisor.time_left()
    if isinstance(process, ActorProcess):
        grace = child.spec.limits.shutdown
        process.stop(why, grace if left is None else min(grace, left))
    else:
        process.stop(why, left)


async def _until_ended(supervisor: Supervisor, child: Child, why: str) -> None:
    """Wait for the end, which the process itself bounds."""
    while child.process is not None and child.exit is None:
        _pass_on_deadline(supervisor, why)
        await supervisor.wait()
    if child.process is not None:
        supervisor.bury(child)


def _pass_on_deadline(supervisor: Supervisor, why: str) -> None:
    """Once when the deadline has come nearer: those that are stopping are told. Once when it has passed: all are."""
    if supervisor.told == (supervisor.deadline, supervisor.overdue):
        return
    supervisor.told = (supervisor.deadline, supervisor.overdue)
    for child in supervisor.children.values():
        if supervisor.overdue or child.state is State.STOPPING:
            request_stop(supervisor, child, why)


def _reason(exit_: Exit) -> str:
    return "a sibling failed too often" if isinstance(exit_, Failed) else exit_.reason
