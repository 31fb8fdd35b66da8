"""What a queue refuses the workers: waited out like its absence, and told."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from forebay.actors.context import Context
from forebay.backends.errors import BackendError, Unavailable

T = TypeVar("T")


class Refusals:
    """The refused calls of one role. Its tasks share it, so that what several of them meet is noted once.

    The port names no error of its own for the workers' calls. So whatever a queue answers with, be it that our rights were
    changed, that something else answers at its port, or that its store is damaged, is as the relay has it: an outage, which
    may end, and which the other queues and the gate must not feel.

    Notes `queue_away` with the call and the reason, and `queue_back` with the seconds between, when nothing is refused any
    more. A queue that does not answer at all is left to the relay to note.
    """

    def __init__(self) -> None:
        self._refused: set[str] = set()
        self._since = 0.0

    async def ask(self, ctx: Context, what: str, call: Awaitable[T]) -> T:
        """Return the queue's answer. Raises `Unavailable`, also for a refusal. `what` names the call among the role's."""
        try:
            answer = await call
        except Unavailable:
            raise
        except BackendError as error:
            self._begin(ctx, what, error)
            raise Unavailable(f"it refuses what the workers must do: {error}") from error
        self.over(ctx, what)
        return answer

    def refused(self, what: str) -> bool:
        """Whether that call was refused when it was last answered."""
        return what in self._refused

    def over(self, ctx: Context, what: str) -> None:
        """That call was answered, or need not be made again."""
        if what in self._refused:
            self._refused.remove(what)
            if not self._refused:
                ctx.note("queue_back", seconds=round(ctx.now() - self._since, 3))

    def _begin(self, ctx: Context, what: str, error: BackendError) -> None:
        if not self._refused:
            self._since = ctx.now()
            ctx.note("queue_away", call=what, why=str(error))
        self._refused.add(what)
