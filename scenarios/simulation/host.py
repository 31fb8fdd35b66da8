"""A place where one process after the other runs a runtime, with a wall clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from forebay.scenarios.clock import VirtualClock
from forebay.scenarios.loop import running_loop
from forebay.scenarios.simulation.process import Being, HostGone, Process
from forebay.supervisors.runtime import Runtime, StopReport

T = TypeVar("T")
R = TypeVar("R", bound=Runtime)


class Host(Generic[R]):
    """A machine by name. `boot` makes the runtime of each life; it is called in the new process, with this host.

    All verbs are for those outside: a test, a scenario.
    """

    def __init__(self, name: str, boot: Callable[[Host[R]], R]) -> None:
        self.name = name
        self.lives = 0
        self._loop = running_loop()
        self.clock = VirtualClock(self._loop.time)
        self._boot = boot
        self._process: Process | None = None
        self._runtime: R | None = None

    @property
    def being(self) -> Being:
        """How its process is: DEAD before the first start, and when the runtime has given up."""
        return Being.DEAD if self._process is None else self._process.being

    @property
    def runtime(self) -> R:
        """The runtime of the newest life, to look at; for calls that wait there is `run`. Raises `HostGone` before any."""
        if self._runtime is None:
            raise HostGone(f"{self.name} was never started")
        return self._runtime

    async def start(self) -> None:
        """Begin a new life and return when its whole tree has started; what it raises is `Runtime.start`'s, and the life is
        over then. Raises `RuntimeError` while one lives.
        """
        if self.being is not Being.DEAD:
            raise RuntimeError(f"{self.name} runs already; kill or terminate it first")
        self.lives += 1
        process = self._process = Process(self._loop, self.name, self.lives)
        started = False
        try:
            await process.run(self._begin)
            started = True
        finally:
            if not started:
                process.kill()

    async def _begin(self) -> None:
        self._runtime = self._boot(self)
        await self._runtime.start()

    async def run(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `act` in its process; see `Process.run`. Raises `HostGone`."""
        if self._process is None:
            raise HostGone(f"{self.name} was never started")
        return await self._process.run(act)

    def kill(self) -> None:
        """End the process as `kill -9` does. Without effect on a dead one."""
        if self._process is not None:
            self._process.kill()

    def pause(self) -> None:
        """Stop it as SIGSTOP does, until `resume`."""
        if self._process is not None:
            self._process.pause()

    def resume(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.resume()

    async def terminate(self, grace: float | None = None) -> StopReport:
        """Stop in order, within `grace` seconds or the runtime's deadline, and end the process; return how it went.

        Raises `HostGone` if it is dead, or is killed meanwhile.
        """
        runtime = self.runtime
        report = await self.run(lambda: runtime.stop(grace))
        self.kill()
        return report

    def skew(self, seconds: float) -> None:
        """Set its wall clock off by `seconds` from the others', from now on; it survives the process."""
        self.clock.skew_ms = round(seconds * 1000)
