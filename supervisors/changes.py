"""How a supervisor serves requests to change its children while it runs (supervisor.erl: start_child and its kin)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forebay.actors.snapshot import State
from forebay.supervisors.requests import (
    ChildStartFailed,
    NoSuchChild,
    Request,
    Verb,
    WrongChildState,
)
from forebay.supervisors.restarting import group, leader, restart_now, start_group
from forebay.supervisors.spec import ChildSpec, join
from forebay.supervisors.stopping import stop_children

if TYPE_CHECKING:
    from forebay.supervisors.child import Child
    from forebay.supervisors.supervisor import Supervisor


async def serve(supervisor: Supervisor, request: Request) -> None:
    """Do what is asked and answer; every refusal is an answer, never an error of the supervisor."""
    if request.answer.done():
        return  # whoever asked has gone, a topic_lock that died for instance: its wish died with it
    if request.verb is Verb.START:
        await _start_child(supervisor, request)
        return
    child = supervisor.children.get(request.subject)
    if child is None:
        known = ", ".join(supervisor.children) or "none"
        request.fail(NoSuchChild(f"{supervisor.path} has no child {request.subject!r}; it has: {known}"))
    elif request.verb is Verb.TERMINATE:
        await _terminate_child(supervisor, child, request)
    elif child.live or (request.verb is Verb.DELETE and child.state is State.WAITING):
        request.fail(WrongChildState(f"{child.path} is {child.state.value}; terminate it first"))
    elif request.verb is Verb.DELETE:
        supervisor.remove(child)
        request.done()
    elif child.state in (State.WAITING, State.PARKED):
        await _restart_sooner(supervisor, child, request)
    else:
        child.restarts += 1
        await _start(supervisor, child, request)


async def _terminate_child(supervisor: Supervisor, child: Child, request: Request) -> None:
    """Stop a child. Siblings that waited for its restart do not wait for ever: they start without it."""
    waiting = [c for c in group(supervisor, child) if not c.live] if child.retry is not None else []
    await stop_children(supervisor, [child], "terminated by request")
    request.done()
    await start_group(supervisor, [c for c in waiting if c is not child])


async def _restart_sooner(supervisor: Supervisor, child: Child, request: Request) -> None:
    """Do a planned restart now, with all that restarts with it; if it fails, it is planned again."""
    first = leader(supervisor, child)
    members = group(supervisor, first)
    await restart_now(supervisor, first)
    failed = next((c for c in members if not c.has_started), child)
    if child.has_started:
        request.done()
    else:
        request.fail(ChildStartFailed(failed.path, None if supervisor.leaving else failed.last_exit))


async def _start_child(supervisor: Supervisor, request: Request) -> None:
    spec: ChildSpec = request.subject
    limit = supervisor.spec.max_children
    if spec.id in supervisor.children:
        path = join(supervisor.path, spec.id)
        request.fail(WrongChildState(f"{path} is there already; restart or delete it"))
    elif limit is not None and len(supervisor.children) >= limit:
        request.fail(WrongChildState(f"{supervisor.path} holds its {limit} children already"))
    else:
        child = supervisor.add(spec)
        if not await _start(supervisor, child, request) and supervisor.children.get(spec.id) is child:
            supervisor.remove(child)


async def _start(supervisor: Supervisor, child: Child, request: Request) -> bool:
    if await supervisor.start(child):
        request.done(child.path)
        return True
    exit_ = supervisor.bury(child) if child.exit is not None else None
    request.fail(ChildStartFailed(child.path, exit_))
    return False
