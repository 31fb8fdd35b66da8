"""Changing the tree of the plain model while it runs: R13. It imports nothing of forebay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from property.model_terms import GROUPS, Spec, Waiting

if TYPE_CHECKING:
    from property.model_supervisor import Child, SupervisorRun


def serve(supervisor: SupervisorRun, number: int, verb: str, subject: Any) -> Waiting:
    if verb == "start":
        yield from _request_start(supervisor, number, subject)
        return
    child = supervisor.children.get(subject)
    if child is None:
        supervisor.answer(number, "NoSuchChild")
    elif verb == "terminate":
        rest = _waiting_for(supervisor, child)
        yield from supervisor.stop_children([child])
        supervisor.answer(number, "ok")
        yield from supervisor.start_group(rest)
    elif child.run is not None or (verb == "delete" and child.state == "waiting"):
        supervisor.answer(number, "WrongChildState")
    elif verb == "delete":
        supervisor.remove(child)
        supervisor.answer(number, "ok")
    else:
        yield from _request_restart(supervisor, number, child)


def _waiting_for(supervisor: SupervisorRun, child: Child) -> list[Child]:
    """The members of a group that wait because `child` does."""
    if child.retry is None or supervisor.spec.strategy not in GROUPS:
        return []
    return [member for member in supervisor.group(child) if member is not child and member.run is None]


def _request_start(supervisor: SupervisorRun, number: int, spec: Spec) -> Waiting:
    limit = supervisor.spec.max_children
    if spec.id in supervisor.children or (limit is not None and len(supervisor.children) >= limit):
        supervisor.answer(number, "WrongChildState")
        return
    child = supervisor.add(spec)
    if (yield from supervisor.start(child)):
        supervisor.answer(number, "ok")
        return
    if supervisor.children.get(spec.id) is child:
        child.run = None
        supervisor.remove(child)
    supervisor.answer(number, "ChildStartFailed")


def _request_restart(supervisor: SupervisorRun, number: int, child: Child) -> Waiting:
    if child.state in ("waiting", "parked"):
        leaders = [c for c in supervisor.children.values() if c.retry is not None and child in supervisor.group(c)]
        yield from supervisor.restart_now(leaders[0] if leaders else child)
        started = child.run is not None and child.run.started
    else:
        child.restarts += 1
        started = yield from supervisor.start(child)
        if not started and child.run is not None:
            supervisor.bury(child)
    supervisor.answer(number, "ok" if started else "ChildStartFailed")
