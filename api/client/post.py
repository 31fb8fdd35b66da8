"""One post: asked of one gate after the other until an answer is final or time is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import anyio

from forebay.client.answers import kind_of, problem_of
from forebay.client.connection import Answer, Lost, Request
from forebay.client.errors import PostError, Refused, TimedOut, Unreachable
from forebay.client.gate import Gate, NotAsked
from forebay.client.gates import Gates

T = TypeVar("T")

_MAX_DOUBLINGS: Final = 20


class Post:
    """A request of which repetitions do no harm. `patience` and `timeout` are in seconds, as the client has them."""

    def __init__(self, gates: Gates, request: Request, ids: tuple[str, ...], *, patience: float, timeout: float) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout is {timeout} s; it must be more than 0")
        self._gates, self._request, self._ids, self._patience = gates, request, ids, patience
        self._timeout = timeout
        self._deadline = anyio.current_time() + timeout
        self._asked = 0

    @property
    def unanswered(self) -> bool:
        """Whether an attempt left without an answer that says what became of it."""
        return self._request.unanswered

    async def until_answered(self, read: Callable[[Answer], T]) -> T:
        """Return what `read` makes of a positive answer; it raises `Lost` for one that is none. Raises `PostError`."""
        while (gate := await self._gates.pick(self._deadline)) is not None and self._left() > 0:
            try:
                answer = await gate.ask(self._request, self._deadline, self._patience_with(gate))
                result = self._final(gate, answer, read)
            except NotAsked:
                continue
            except Lost as error:
                self._gates.lost(gate, error)
                continue
            if result is not None:
                return result
        raise self._ended()

    def _left(self) -> float:
        return self._deadline - anyio.current_time()

    def _patience_with(self, gate: Gate) -> float:
        """Seconds that this gate has: more with each repetition, and never all that is left while another is up."""
        patience = self._patience * 2.0 ** min(self._asked, _MAX_DOUBLINGS)
        self._asked += 1
        return min(patience, self._left() / 2) if self._gates.others_up(gate) else patience

    def _final(self, gate: Gate, answer: Answer, read: Callable[[Answer], T]) -> T | None:
        """The result, None if another attempt is to be made. Raises `Refused` and `Lost`."""
        kind = kind_of(answer)
        if kind in ("later", "unknown"):
            self._request.unanswered |= kind == "unknown"
            self._gates.refused(gate, answer)
            return None
        if kind == "refused":
            self._gates.served(gate)
            raise Refused(problem_of(answer), self._ids, maybe_accepted=self.unanswered)
        before, self._request.unanswered = self.unanswered, True
        result = read(answer)
        self._request.unanswered = before
        self._gates.served(gate)
        return result

    def _ended(self) -> PostError:
        gates = "; ".join(f"{gate.url}: {gate.error or 'no failure'}" for gate in self._gates.view())
        when = "the client was closed" if self._gates.closed else f"no gate took it in {self._timeout:g} s"
        if self.unanswered:
            advice = "whether it was accepted is not known; post it again with the same id"
            return TimedOut(f"{when}, and {advice} ({gates})", self._ids)
        return Unreachable(f"{when}; nothing was accepted, post it again later ({gates})", self._ids)
