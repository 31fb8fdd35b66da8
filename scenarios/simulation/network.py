"""What lies between simulated hosts and one service: trips that take time, hosts that are cut off, answers that break.

A call goes there, is served, and its answer comes back; at each of these steps it can be lost. What the service does for it
is nobody's: it is done though the caller is gone, for a process that was killed does not take its requests back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from random import Random
from typing import Any, Final, Generic, TypeVar

from forebay.backends.errors import BackendError
from forebay.scenarios.owner import unowned

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

Serve = Callable[[], T | asyncio.Future[T]]
"""What a call has the service do, where and when it arrives."""

NOBODY: Final = unowned()
"""The context in which services work: no process owns what is set in motion there."""


class NoAnswer(Exception):
    """The call was sent and no answer came, or the connection broke: it may or may not have taken effect."""


class Silence(NoAnswer):
    """No answer came in time."""


class Refused(Exception):
    """Nobody took the call: nothing was done."""


class Reach:
    """Which hosts are cut off from one service."""

    def __init__(self) -> None:
        self._cut: dict[str, None] = {}

    def cut(self, host: str) -> None:
        """Let nothing through between the host and the service, without a word to either."""
        self._cut[host] = None

    def mend(self, host: str) -> None:
        """Let it through again."""
        self._cut.pop(host, None)


class Network(Reach):
    """The way to one service. `latency` is the most that one trip takes (seconds), drawn from `random`."""

    def __init__(self, random: Random, latency: float) -> None:
        super().__init__()
        self._random = random
        self._usual = latency
        self._latency = latency
        self._breaking = 0.0
        self.broken = 0

    # --- faults

    def set_latency(self, seconds: float) -> None:
        """Let a trip take up to so long from now on."""
        self._latency = seconds

    def break_answers(self, share: float) -> None:
        """Break this share (0 to 1) of the connections after the service has served and before the answer is there."""
        self._breaking = share

    def heal(self) -> None:
        """As it was made."""
        self._cut.clear()
        self._latency, self._breaking = self._usual, 0.0

    # --- trips

    def trip(self) -> float:
        """Return how long one trip takes (seconds)."""
        return self._random.uniform(0.0, self._latency) if self._latency else 0.0

    def later(self, seconds: float, do: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Have the service do something after so long, whatever becomes of those who are there now."""
        return asyncio.get_running_loop().call_later(seconds, partial(do, *args), context=NOBODY)

    def send(self, host: str, serve: Serve[T], answer: asyncio.Future[T]) -> None:
        """Have the service do what `serve` says. `answer` gets what that returns or raises, or what the future brings that
        it returns; or nothing ever.
        """
        if host not in self._cut:
            self.later(self.trip(), self._arrive, host, serve, answer)

    def _arrive(self, host: str, serve: Serve[T], answer: asyncio.Future[T]) -> None:
        if host in self._cut:
            return
        served: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            given = serve()
        except (NoAnswer, Refused, BackendError) as error:
            served.set_exception(error)
        else:
            if isinstance(given, asyncio.Future):
                served = given
            else:
                served.set_result(given)
        served.add_done_callback(partial(self._return, host, answer), context=NOBODY)

    def _return(self, host: str, answer: asyncio.Future[T], served: asyncio.Future[T]) -> None:
        error = served.exception()
        if self._breaking and self._random.random() < self._breaking:
            self.broken += 1
            error = NoAnswer("the connection broke before the answer was there")
        self.later(self.trip(), self._deliver, host, answer, served, error)

    def _deliver(self, host: str, answer: asyncio.Future[T], served: asyncio.Future[T], error: BaseException | None) -> None:
        if host in self._cut or answer.done():
            return
        if error is None:
            answer.set_result(served.result())
        else:
            fail(answer, error)


class Networked:
    """A service that hosts reach through `network`, and what can happen to the way there."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def cut(self, host: str) -> None:
        """Let nothing through between a host and the service."""
        self.network.cut(host)

    def mend(self, host: str) -> None:
        """Let it through again."""
        self.network.mend(host)

    def set_latency(self, seconds: float) -> None:
        """Let a trip take up to so long."""
        self.network.set_latency(seconds)

    def break_answers(self, share: float) -> None:
        """Break this share of the connections after the service has done its part."""
        self.network.break_answers(share)


def fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    """End a wait with an error. It counts as seen: the one who waits may be a process that was killed."""
    if not answer.done():
        answer.set_exception(error)
        answer.exception()


class Caller:
    """One host's calls to a service, between `open` and `close`."""

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._host = host
        self._under_way: dict[asyncio.Future[Any], None] = {}
        self.is_open = False

    def open(self) -> None:
        """Make ready; nothing is sent."""
        self.is_open = True

    def close(self) -> None:
        """End what is under way with `NoAnswer`."""
        self.is_open = False
        for answer in tuple(self._under_way):
            fail(answer, NoAnswer("the client was stopped meanwhile"))

    async def ask(self, serve: Serve[T], timeout: float) -> T:
        """Return or raise what the service says. Raises `Silence` if nothing came within so many seconds."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._under_way[answer] = None
        timer = loop.call_later(timeout, fail, answer, Silence(f"no answer within {timeout:g} s"))
        self._network.send(self._host, serve, answer)
        try:
            return await answer
        finally:
            timer.cancel()
            self._under_way.pop(answer, None)


class _Wait:
    """One answer that is held back."""

    def __init__(self, keys: tuple[Hashable, ...], answer: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.keys, self.answer, self.future = keys, answer, future
        self.timer: asyncio.TimerHandle | None = None


class Held(Generic[K]):
    """Answers that a service holds back until something changes, or a time is up: long polls, blocking queries."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._waiting: dict[Hashable, dict[_Wait, None]] = {}

    def until(self, keys: Iterable[K], seconds: float, answer: Callable[[], T]) -> asyncio.Future[T]:
        """Return what `answer` returns as soon as one of the keys is woken, or after so many seconds."""
        wait = _Wait(tuple(dict.fromkeys(keys)), answer, asyncio.get_running_loop().create_future())
        for key in wait.keys:
            self._waiting.setdefault(key, {})[wait] = None
        wait.timer = self._network.later(seconds, self._release, wait)
        return wait.future

    def wake(self, keys: Iterable[K]) -> None:
        """Give the answers that wait for one of the keys."""
        for key in keys:
            for wait in tuple(self._waiting.get(key, ())):
                self._release(wait)

    def break_all(self, why: str) -> None:
        """Break the connections of all who wait."""
        for waits in tuple(self._waiting.values()):
            for wait in tuple(waits):
                self._forget(wait)
                fail(wait.future, NoAnswer(why))

    def _release(self, wait: _Wait) -> None:
        self._forget(wait)
        if not wait.future.done():
            wait.future.set_result(wait.answer())

    def _forget(self, wait: _Wait) -> None:
        assert wait.timer is not None
        wait.timer.cancel()
        for key in wait.keys:
            waits = self._waiting.get(key, {})
            waits.pop(wait, None)
            if not waits:
                self._waiting.pop(key, None)
