"""A place where one process after the other runs a runtime, with a wall clock of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from forebay.scenarios.clock import VirtualClock
from forebay.scenarios.loop import running_loop
from forebay.scenarios.simulation.process import Being, HostGone, Process
from forebay.supervisors.runtime import Runtime, RuntimeFailed, RuntimeStartFailed, StopReport

T = TypeVar("T")
R = TypeVar("R", bound=Runtime)


class Host(Generic[R]):
    """A machine by name. `boot` makes the runtime of each life; it is called in the new process. `note` is told what became
    of the host: `Started`, `Paused`, `Resumed`, `Skewed`, `GaveUp`, and `Ended` for every end of a process. `failure` is
    what the newest life gave up for, if it did; its process has ended then.

    All verbs are for those outside: a test, a scenario. They return whether there was something to do.
    """

    def __init__(self, name: str, boot: Callable[[Host[R]], R], note: Callable[[Host[R], str], None]) -> None:
        self.name = name
        self.lives = 0
        self.failure: RuntimeFailed | None = None
        self._loop = running_loop()
        self.clock = VirtualClock(self._loop.time)
        self._boot = boot
        self._note = note
        self._process: Process | None = None
        self._runtime: R | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def being(self) -> Being:
        """How its process is; DEAD before the first start."""
        return Being.DEAD if self._process is None else self._process.being

    @property
    def runtime(self) -> R:
        """The runtime of the newest life, to look at; for calls that wait there is `run`. Raises `HostGone` before any."""
        if self._runtime is None:
            raise HostGone(f"{self.name} was not started")
        return self._runtime

    async def start(self) -> bool:
        """Begin a new life and return when its whole tree has started; what it raises is `Runtime.start`'s, and the life is
        over then. Raises `HostGone` if it is killed or stopped meanwhile. False while one lives.
        """
        if self.being is not Being.DEAD:
            return False
        self.lives += 1
        process = self._process = Process(self._loop, self.name, self.lives)
        self._runtime, self.failure = None, None
        self._note(self, "Started")
        runtime: R | None = None
        try:
            runtime = await process.run(self._begin)
        except RuntimeStartFailed as error:
            if process.stopping:
                raise HostGone(f"{self.name} was stopped while it started") from error
            raise
        finally:
            if runtime is None and process.kill():
                self._note(self, "Ended")
        self._watch = self._loop.create_task(self._watched(process, runtime), name=f"{self.name}: watch")
        return True

    async def _begin(self) -> R:
        runtime = self._runtime = self._boot(self)
        await runtime.start()
        return runtime

    async def _watched(self, process: Process, runtime: R) -> None:
        """A runtime that gives up ends its program."""
        try:
            await process.run(runtime.wait)
        except HostGone:
            return
        except RuntimeFailed as failure:
            self.failure = failure
            self._note(self, "GaveUp")
            if process.kill():
                self._note(self, "Ended")

    async def run(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `act` in its process; see `Process.run`. Raises `HostGone`."""
        if self._process is None:
            raise HostGone(f"{self.name} was never started")
        return await self._process.run(act)

    def kill(self) -> bool:
        """End the process as `kill -9` does."""
        return self._did(self._process is not None and self._process.kill(), "Ended")

    def pause(self) -> bool:
        """Stop it as SIGSTOP does, until `resume`."""
        return self._did(self._process is not None and self._process.pause(), "Paused")

    def resume(self) -> bool:
        """Let it go on."""
        return self._did(self._process is not None and self._process.resume(), "Resumed")

    def skew(self, seconds: float) -> bool:
        """Set its wall clock off by `seconds` from the others', from now on; that survives the process."""
        before, self.clock.skew_ms = self.clock.skew_ms, round(seconds * 1000)
        return self._did(before != self.clock.skew_ms, "Skewed")

    async def terminate(self, grace: float | None = None) -> StopReport | None:
        """Stop in order, within `grace` seconds or the runtime's deadline, and end the process; return how it went, None for
        a host that was not running. Raises `HostGone` if it is killed meanwhile.
        """
        process, runtime = self._process, self._runtime
        if process is None or process.being is Being.DEAD:
            return None
        if runtime is None:  # not one line of its program has run yet
            self.kill()
            return None
        process.stopping = True
        report = await process.run(lambda: runtime.stop(grace))
        if process.kill():
            self._note(self, "Ended")
        return report

    def _did(self, done: bool, what: str) -> bool:
        if done:
            self._note(self, what)
        return done
