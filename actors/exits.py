"""How an actor ends: a value, never an exception that travels.

Structured concurrency says that an exception leaves the block it was raised in; supervision says that a child's exception
is data for its parent. They meet in one place: the child runner (`actors.process`) turns whatever ended the child into an
`Exit`, and from there on supervisors compare values.
"""

from __future__ import annotations

from attrs import frozen


class ActorError(Exception):
    """Base of the errors that the actor model itself raises."""


class SupervisorStopped(ActorError):
    """The supervisor has ended or is ending; nothing was changed."""


class EnvironmentExit(Exception):
    """Raised by an actor that ends because of the world around it, not because of a bug.

    Supervisors restart such a child with backoff for ever and never count it against a restart budget.
    """


class HandlerTimeout(ActorError):
    """A handler ran longer than its hard limit (seconds) and was cancelled."""

    def __init__(self, limit: float, message: str) -> None:
        super().__init__(f"handling {message} took longer than {limit} s")
        self.limit = limit


class StartTimeout(ActorError):
    """`on_start` took longer than the child spec allows (seconds)."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"on_start took longer than {limit} s")
        self.limit = limit


class UnexpectedCancellation(ActorError):
    """A CancelledError surfaced that nobody sent to this actor (it awaited something that was cancelled)."""


@frozen
class Normal:
    """The actor stopped itself: its work is done."""

    reason: str = "done"


@frozen
class Shutdown:
    """The supervisor asked for the stop and the actor kept to it."""

    reason: str = "shutdown"


@frozen
class Failed:
    """The actor raised. `error` is what; its traceback is on it."""

    error: BaseException

    @property
    def environment(self) -> bool:
        """Whether the world around the actor caused this, rather than a bug."""
        return isinstance(self.error, EnvironmentExit)


@frozen
class Killed:
    """The actor was cancelled, because its time to stop had passed or its task was cancelled from outside."""

    reason: str = "killed"


@frozen
class Abandoned:
    """The actor swallowed its cancellation and still runs. It is cut off, reported, and never waited for again."""

    reason: str = "ignored cancellation"


Exit = Normal | Shutdown | Failed | Killed | Abandoned


def describe(exit_: Exit) -> str:
    """Return one line for people and traces, free of addresses."""
    if isinstance(exit_, Failed):
        return f"failed: {type(exit_.error).__name__}: {exit_.error}"
    return f"{type(exit_).__name__.lower()}: {exit_.reason}"
