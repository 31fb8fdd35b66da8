"""One actor under test among peers that keep what they are told."""

import asyncio
from contextlib import asynccontextmanager

from forebay.actors.actor import Actor
from forebay.actors.events import Exited, Noted, StartFailed
from forebay.scenarios.loop import running_loop
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, SupervisorSpec


class Peer(Actor):
    """Puts each message into a queue that the test reads."""

    def __init__(self, box):
        self.box = box

    async def on_message(self, ctx, message):
        self.box.put_nowait(message)


class Stand:
    """The subject at `/subject`; each peer at `/<name>`, its messages in `told[name]`."""

    def __init__(self, make, names):
        self.told = {name: asyncio.Queue() for name in names}
        children = [ChildSpec(name, lambda name=name: Peer(self.told[name])) for name in names]
        self.runtime = Runtime(
            SupervisorSpec(children=[*children, ChildSpec("subject", make)]), clock=running_loop().clock, seed=1
        )
        self.events = self.runtime.events.subscribe(100_000)
        self._seen = []

    @property
    def subject(self):
        return self.runtime.ref("/subject")

    def ref(self, name):
        return self.runtime.ref(f"/{name}")

    def history(self):
        self._seen += self.events.drain()
        return self._seen

    def notes(self, name):
        return [dict(e.fields) for e in self.history() if isinstance(e, Noted) and e.name == name]

    def failures(self):
        """What the subject has ended with so far."""
        ends = [e for e in self.history() if isinstance(e, Exited | StartFailed) and e.path == "/subject"]
        return [getattr(e.exit, "error", None) for e in ends]


@asynccontextmanager
async def standing(make, *names):
    stand = Stand(make, names)
    async with stand.runtime:
        yield stand


async def settle():
    """Let everything happen that needs no time to pass."""
    await asyncio.sleep(1e-3)
