"""What a role of a term asks its queue: outages are waited out, and `topic_lock` hears of a refused term."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from forebay.actors.context import Context
from forebay.actors.relay.messages import Term, TermRefused
from forebay.actors.relay.outage import Outage
from forebay.backends.errors import BackendError, FenceMissing, StaleToken, Unavailable
from forebay.config.values import Backoff

T = TypeVar("T")

REFUSALS: Final = (StaleToken, FenceMissing)
"""What a queue raises when the term is not, or not any more, the one that it knows."""


class TermQueue:
    """One role's questions. `outage` is for those that it asks in a way of its own. Notes `queue_away` and `queue_back`."""

    def __init__(self, ctx: Context, term: Term, topic_lock: str, backoff: Backoff) -> None:
        self._ctx = ctx
        self._term = term
        self._topic_lock = topic_lock
        self.outage = Outage(ctx, "queue", backoff)

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return the queue's answer, however long that takes. Raises `REFUSALS`."""

        async def attempt() -> T:
            try:
                return await call()
            except (Unavailable, *REFUSALS):
                raise
            except BackendError as error:
                raise Unavailable(f"it refuses what the relay must know: {error}") from error

        return await self.outage.call(attempt)

    async def refused(self, refusal: BackendError) -> None:
        """Tell `topic_lock` that the queue refuses the term."""
        forgot = isinstance(refusal, FenceMissing)
        await self._ctx.lookup(self._topic_lock).send(TermRefused(self._term.token, forgot, str(refusal)))
