"""What travels in the system lane besides timers and monitors: orders and failures, to the process itself."""

from __future__ import annotations

from attrs import frozen

from forebay.actors.exits import Exit


@frozen
class StopRequest:
    """End in order."""

    exit: Exit


@frozen
class TaskFailed:
    """A task of this actor raised; the actor fails with it."""

    error: BaseException


@frozen
class ExitSignal:
    """Fail with this error, as if a handler had raised it: for fault injection and operators."""

    error: Exception
