"""One actor, alone in a tree of its own, driven step by step from a test.

Nothing is mocked: the actor, its context, mailbox, timers and tasks are the real ones, under virtual time. What stands
around it are probes, real actors that keep what they are sent. Each call lets the actor work until it waits for something
that only time or another call can bring.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from forebay.actors.actor import Actor
from forebay.actors.ask import Caller
from forebay.actors.context import Context
from forebay.actors.events import Event, Exited, Noted
from forebay.actors.exits import Exit, Failed
from forebay.actors.mailbox import MailboxSpec
from forebay.actors.process import ActorProcess, Limits
from forebay.actors.ref import Ref
from forebay.config.values import Backoff, Intensity
from forebay.scenarios.loop import VirtualLoop, open_loop, running_loop
from forebay.scenarios.virtual import HORIZON, Crash, crash, virtual_runtime
from forebay.supervisors.control import SupervisorRef
from forebay.supervisors.requests import ChildStartFailed
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, Restart, SupervisorSpec

T = TypeVar("T")

DEFAULT_PATH: Final = "/actor"
DEFAULT_LIMITS: Final = Limits()
DEFAULT_MAILBOX: Final = MailboxSpec()
DEADLINE: Final = 3600.0

# Probes may be crashed at will.
PATIENT: Final = Intensity(max_restarts=1000, period=5.0)
PROMPT: Final = Backoff(base=0.001, cap=0.001)


class Probe:
    """Stands where the actor expects a peer, and keeps what comes. `received` is what was not taken yet, asks included."""

    def __init__(self, harness: ActorHarness, path: str) -> None:
        self._harness = harness
        self._asks: deque[Caller] = deque()
        self.path = path
        self.received: list[Any] = []

    def take(self) -> list[Any]:
        """Return the messages that came since the last look."""
        messages = list(self.received)
        self.received.clear()
        return messages

    def reply(self, value: object) -> None:
        """Answer the oldest ask that waits for it, and let the actor go on. Raises `LookupError` if there is none."""
        self._asked().reply(value)
        self._harness.settle()

    def fail(self, error: Exception) -> None:
        """Answer the oldest ask that waits for it with an error. Raises `LookupError` if there is none."""
        self._asked().fail(error)
        self._harness.settle()

    def crash(self, error: Exception | None = None) -> None:
        """End the peer's incarnation with `Failed(error)`: who monitors it hears of it. It starts again at once."""
        self._harness.crash(error, self.path)

    def keep(self, message: object, caller: Caller | None) -> None:
        """Note a message, and who waits for the reply."""
        self.received.append(message)
        if caller is not None:
            self._asks.append(caller)

    def _asked(self) -> Caller:
        while self._asks:
            if not (caller := self._asks.popleft()).future.done():
                return caller
        raise LookupError(f"{self.path} holds no ask that waits for an answer")


class _ProbeActor(Actor[Any]):
    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    async def on_message(self, ctx: Context, message: Any) -> None:
        self._probe.keep(message, ctx.caller())


class ActorHarness:
    """Run one actor: `with ActorHarness(Counter, peers=["/log"]) as harness: ...`.

    `factory` makes the actor, as in a child spec; `path` is where it stands; `peers` are the paths of probes that it can
    look up. `seed` chooses its random stream. Works in synchronous tests and, in a thread of its own, inside a running loop.
    An actor's failure is a value, `exit`; one that the test never looked at is raised where the block is left.
    """

    def __init__(
        self,
        factory: Callable[[], Actor[Any]],
        *,
        path: str = DEFAULT_PATH,
        peers: Iterable[str] = (),
        limits: Limits = DEFAULT_LIMITS,
        mailbox: MailboxSpec = DEFAULT_MAILBOX,
        seed: int = 0,
    ) -> None:
        self.path = path
        self.events: list[Event] = []
        self._spec = ChildSpec(_name(path), factory, Restart.TEMPORARY, limits=limits, mailbox=mailbox)
        self._peers = {peer: Probe(self, peer) for peer in peers}
        self._seed = seed
        self._exit: Exit | None = None
        self._looked = True
        self._stack: ExitStack
        self._loop: VirtualLoop
        self._runtime: Runtime

    # --- the block

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            manager = open_loop(self._seed, horizon=HORIZON)
            self._loop = manager.__enter__()
            stack.push(lambda *error: _beside(manager.__exit__, *error))
            self._drive(self._begin)
            stack.callback(self._drive, self._runtime.stop)
            self._drive(self._start)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ignored = isinstance(self._exit, Failed) and not self._looked
        self._stack.close()
        if error is None and ignored:
            assert isinstance(self._exit, Failed)
            raise self._exit.error

    async def _begin(self) -> None:
        places: dict[str, ChildSpec | None] = {
            path: ChildSpec(_name(path), partial(_ProbeActor, probe)) for path, probe in self._peers.items()
        }
        self._runtime = virtual_runtime(_tree({**places, f"{_parent(self.path)}/": None}), deadline=DEADLINE)
        self._runtime.events.listen(self._note)
        await self._runtime.start()

    async def _start(self) -> None:
        try:
            await self._supervisor().start_child(self._spec)
        except ChildStartFailed as failed:
            raise failed from failed.exit.error if isinstance(failed.exit, Failed) else None
        await _idle()

    # --- doing

    def tell(self, message: object) -> None:
        """Hand the actor a message. Raises `MailboxFull` or `ActorStopped`."""
        self._drive(self._tell, message)

    def ask(self, message: object, timeout: float = 10.0) -> Any:
        """Hand the actor a message and return its reply; time passes as far as that takes. Raises as `Ref.ask` does."""
        return self._drive(self._ask, message, timeout)

    def advance(self, seconds: float) -> None:
        """Let so much virtual time pass; timers that are due then fire."""
        self._drive(self._advance, seconds)

    def settle(self) -> None:
        """Let everything happen that needs no time."""
        self._drive(_idle)

    def stop(self) -> Exit:
        """Stop the actor in order, as its supervisor would; return how it ended."""
        if self._exit is None:
            self._drive(self._terminate)
        exit_ = self.exit
        assert exit_ is not None
        return exit_

    def crash(self, error: Exception | None = None, path: str | None = None) -> None:
        """Make the actor fail with `error` at its next message boundary; with `path`, a peer."""
        self._drive(crash, self._runtime, path or self.path, error or Crash("crashed by a test"))
        self.settle()

    def restart(self) -> None:
        """Start the next incarnation of an actor that has ended."""
        self._exit, self._looked = None, True
        self._drive(self._start)

    # --- looking

    @property
    def ref(self) -> Ref[Any]:
        """The actor's address. Raises `LookupError` when it has ended."""
        return self._runtime.ref(self.path)

    @property
    def actor(self) -> Any:
        """The actor object itself. Raises `LookupError` when it has ended."""
        return self._process().actor

    @property
    def exit(self) -> Exit | None:
        """How the actor ended; None while it runs."""
        self._looked = True
        return self._exit

    @property
    def now(self) -> float:
        """Virtual seconds since the block began."""
        return self._loop.time()

    @property
    def timers(self) -> dict[str, float]:
        """The names of the timers that are set, each with the seconds left."""
        now = self.now
        return {name: when - now for name, when in self._process().timers.due().items()}

    @property
    def tasks(self) -> list[str]:
        """The names of the actor's own tasks that run."""
        return list(self._process().tasks)

    @property
    def notes(self) -> list[tuple[str, dict[str, Any]]]:
        """The domain events that the actor has reported, in order: name and fields."""
        noted = [event for event in self.events if isinstance(event, Noted) and event.path == self.path]
        return [(event.name, dict(event.fields)) for event in noted]

    def peer(self, path: str) -> Probe:
        """The probe at `path`. Raises `LookupError` if none was asked for."""
        if path not in self._peers:
            raise LookupError(f"no probe at {path}; name it in peers=[...]")
        return self._peers[path]

    # --- inside

    async def _tell(self, message: object) -> None:
        self.ref.tell(message)
        await _idle()

    async def _ask(self, message: object, timeout: float) -> Any:
        reply = await self.ref.ask(message, timeout)
        await _idle()
        return reply

    async def _advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await _idle()

    async def _terminate(self) -> None:
        await self._supervisor().terminate_child(self._spec.id)

    def _supervisor(self) -> SupervisorRef:
        return self._runtime.supervisor(_parent(self.path))

    def _process(self) -> ActorProcess:
        process = self.ref.place.process
        if process is None:
            raise LookupError(f"{self.path} does not run")
        return process

    def _note(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Exited) and event.path == self.path:
            self._exit, self._looked = event.exit, False

    def _drive(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run on the virtual loop until the call is done; beside a running loop, in a thread."""
        return _beside(lambda: self._loop.run_until_complete(function(*args)))


def _beside(call: Callable[..., T], *args: Any) -> T:
    """Call at once, or, where a loop runs already, in a thread of its own."""
    if asyncio._get_running_loop() is None:  # noqa: SLF001 - the public one raises
        return call(*args)
    with ThreadPoolExecutor(1, "actor harness") as executor:
        return executor.submit(call, *args).result()


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _tree(places: dict[str, ChildSpec | None]) -> SupervisorSpec:
    """Supervisors wherever the paths have a folder, children where there is a spec."""
    folders: dict[str, dict[str, ChildSpec | None]] = {}
    here: list[ChildSpec] = []
    for path, spec in places.items():
        head, slash, rest = path.lstrip("/").partition("/")
        if slash:
            folders.setdefault(head, {})[rest] = spec
        elif spec is not None:
            here.append(spec)
    below = [ChildSpec(name, _tree(inner)) for name, inner in folders.items()]
    return SupervisorSpec(children=tuple(here + below), intensity=PATIENT, backoff=PROMPT, stable_after=0.0)


async def _idle() -> None:
    """Return when nothing is left to do at this instant."""
    loop = running_loop()
    await asyncio.sleep(0)
    while loop.busy():  # noqa: ASYNC110 - that nothing happens is no event
        await asyncio.sleep(0)
