"""The handle by which actors and programs change a supervisor's children while it runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from forebay.actors.exits import Exit, Normal
from forebay.actors.ref import Ref
from forebay.actors.waiting import until
from forebay.supervisors.requests import NoSuchChild, Request, Verb
from forebay.supervisors.spec import ChildSpec, check_child, join

if TYPE_CHECKING:
    from forebay.supervisors.supervisor import Supervisor


class SupervisorRef:
    """One incarnation of a supervisor, for those who may change its children.

    Requests are served one at a time, after whatever the supervisor is doing; they raise `SupervisorStopped` when it ends.
    """

    __slots__ = ("_supervisor",)

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    @property
    def path(self) -> str:
        """Where the supervisor stands in the tree."""
        return self._supervisor.path

    async def start_child(self, spec: ChildSpec) -> Ref[Any] | None:
        """Add a child at the end of the order and start it; return its ref, or None for a supervisor.

        Raises `InvalidTree`, `WrongChildState` if the id is taken, `ChildStartFailed`; in each case nothing was added.
        """
        check_child(self._supervisor.spec, spec, join(self.path, spec.id))
        path = await self._ask(Verb.START, spec)
        cell = self._supervisor.system.find(path)
        return None if cell is None else Ref(cell)

    async def terminate_child(self, child_id: str) -> None:
        """Stop a child and leave it stopped; a temporary one is removed. Raises `NoSuchChild`."""
        await self._ask(Verb.TERMINATE, child_id)

    async def restart_child(self, child_id: str) -> None:
        """Start a stopped, parked or waiting child now. Raises `WrongChildState`, `ChildStartFailed`, `NoSuchChild`."""
        await self._ask(Verb.RESTART, child_id)

    async def delete_child(self, child_id: str) -> None:
        """Remove a stopped or parked child for good. Raises `WrongChildState`, `NoSuchChild`."""
        await self._ask(Verb.DELETE, child_id)

    async def child_ended(self, child_id: str) -> Exit:
        """Wait until the child's current process, actor or supervisor, has ended; return how.

        Answers at once, with its last exit, when none runs. Raises `NoSuchChild`.
        """
        child = self._supervisor.children.get(child_id)
        if child is None:
            raise NoSuchChild(f"{self.path} has no child {child_id!r}")
        if not child.live or child.exit is not None:
            return child.last_exit or Normal("never started")
        if child.ended is None:
            child.ended = asyncio.get_running_loop().create_future()
        ended = child.ended
        await until(ended)
        return ended.result()

    async def _ask(self, verb: Verb, subject: object) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._supervisor.submit(Request(verb, subject, answer))
        return await answer
