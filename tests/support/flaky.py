"""A port whose service fails as services do: refused calls, answers that get lost, silence, slowness."""

import asyncio
import inspect

from forebay.backends.errors import BackendError, Unavailable, UnknownOutcome


class Faults:
    """What is wrong with one service now. Chances are per call; `latency` is the most that a call takes (seconds).

    `down` refuses every call, `silent` answers none; both also hold for calls that began before. Calls named in `forbidden`
    are answered with an error that is no outage, and do nothing.
    """

    def __init__(self, random):
        self.random = random
        self.refuse = self.lose = self.latency = 0.0
        self.down = False
        self.forbidden = frozenset()
        self.bites = 0
        self._speaking = asyncio.Event()
        self._speaking.set()

    @property
    def silent(self):
        return not self._speaking.is_set()

    @silent.setter
    def silent(self, value):
        self._speaking.clear() if value else self._speaking.set()

    def heal(self):
        self.refuse = self.lose = 0.0
        self.down = self.silent = False
        self.forbidden = frozenset()

    async def before(self, what):
        await self._speaking.wait()
        if self.latency:
            await asyncio.sleep(self.random.uniform(0, self.latency))
        if what in self.forbidden:
            self.bites += 1
            raise BackendError(f"the queue refused a call: NOPERM no permissions to {what}")
        if self.down or self.random.random() < self.refuse:
            self.bites += 1
            raise Unavailable(f"{what} was refused")

    async def after(self, what):
        await self._speaking.wait()
        if self.down or self.random.random() < self.lose:
            self.bites += 1
            raise UnknownOutcome(f"{what}: the answer was lost")


class Flaky:
    """A port behind its faults. What it connects to is behind the same ones; `close` always works."""

    def __init__(self, port, faults, calls=None):
        self.port, self.faults = port, faults
        self.calls = {} if calls is None else calls  # how often what was called
        self.muted = set()  # calls whose answers are held back as long as they are in here

    def __getattr__(self, name):
        found = getattr(self.port, name)
        if not inspect.iscoroutinefunction(found) or name in ("start", "stop", "close"):
            return found

        async def call(*args, **kwargs):
            self.calls[name] = self.calls.get(name, 0) + 1
            await self.faults.before(name)
            result = await found(*args, **kwargs)
            await self.faults.after(name)
            while name in self.muted:
                await asyncio.sleep(0.01)
            return Flaky(result, self.faults, self.calls) if name == "connect" else result

        return call
