"""An asyncio loop on virtual time: the same program gives the same run, and waiting costs
nothing.

It is the selector event loop with a pass of its own: where the real one would sleep in
`select()`, this one moves its clock to the next deadline, exactly. Everything else that could tell one run from
another is put in order (`forebay.scenarios.order`) or closed (`forebay.scenarios.fences`), and
the garbage collector runs at counted passes only. All of that is in force only while the loop
runs, and undone however it ends. One virtual loop can run in a process at a time.

A run that can go no further says so: `Deadlock` when nothing is left that could wake anyone,
`Livelock` when an instant takes too many passes, `OutOfTime` past the horizon; each names the
tasks.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
import math
import selectors
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from typing import Any, NoReturn, TypedDict, TypeVar, TypeVarTuple, Unpack

from forebay.scenarios.awaits import await_graph, entangled, pending, ready_summary, task_of
from forebay.scenarios.clock import VirtualClock
from forebay.scenarios.controls import controls
from forebay.scenarios.fences import Fenced, breach, fence_methods
from forebay.scenarios.order import (
    OrderedFuture,
    OrderedGenerators,
    OrderedTask,
    OwnedHandle,
    OwnedTimer,
)
from forebay.scenarios.owner import Owner, unowned
from forebay.scenarios.streams import Streams

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PASSES_PER_INSTANT = 100_000
PASSES_PER_COLLECTION = 10_000
MOST_CANCELLED = 100  # timers, before they are looked for among the others
CLOSINGS = 10  # a coroutine that awaits while it is being closed has to be told again
SCHEDULE_STREAM = "schedule"


class Stuck(RuntimeError):
    """The simulated program cannot go on."""


class Deadlock(Stuck):
    """Nothing is ready and no timer is set: whoever waits, waits for ever."""


class Livelock(Stuck):
    """The loop passes again and again without time moving."""


class OutOfTime(Stuck):
    """The next thing to happen lies past the horizon."""


class Options(TypedDict, total=False):
    """How a virtual loop runs; see `VirtualLoop`."""

    explore: bool
    passes_per_instant: int
    horizon: float
    audit: bool


class _NoSelector(selectors.BaseSelector):
    """Takes no files; the loop never selects."""

    def select(self, timeout: float | None = None) -> NoReturn:  # noqa: ARG002
        raise Fenced("select() under virtual time: the loop moves its clock instead")

    def register(self, fileobj: Any, events: int, data: Any = None) -> NoReturn:  # noqa: ARG002
        raise Fenced(f"file {fileobj!r} under virtual time: simulate the service at its port")

    def unregister(self, fileobj: Any) -> NoReturn:
        raise KeyError(f"{fileobj!r} is not registered")

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


@fence_methods
class VirtualLoop(asyncio.SelectorEventLoop):
    """A deterministic event loop on virtual time, which starts at 0.0 s.

    `streams` is the run's chance. `explore`: tasks that are ready together take their turns, and
    timers of one instant fire, in an order drawn from the stream "schedule" (drawing only zeros
    is the plain order); callbacks keep theirs, as asyncio promises. `passes_per_instant` and
    `horizon` (seconds) bound the run. `audit` closes clocks and chance to the code that runs
    here. `breaches` are the fences that were touched, `clock` is the clock port.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(
        self,
        streams: Streams,
        *,
        explore: bool = False,
        passes_per_instant: int = PASSES_PER_INSTANT,
        horizon: float = math.inf,
        audit: bool = True,
    ) -> None:
        self.streams = streams
        self.numbers = itertools.count(1)
        self.breaches: list[Fenced] = []
        self._graves: dict[asyncio.Task[Any], None] = {}
        self.clock = VirtualClock(self.time)
        self._now = 0.0
        self._passes = 0
        self._passes_here = 0
        self._passes_allowed = passes_per_instant
        self._horizon = horizon
        self._audit = audit
        self._explore = explore
        self._home = threading.get_ident()
        self._heap: list[tuple[float, int, OwnedTimer]] = []  # timers of one instant in the order they were set
        self._cancelled_timers = 0
        super().__init__(_NoSelector())
        self._asyncgens = OrderedGenerators()
        super().set_task_factory(_ordered_task)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def busy(self) -> bool:
        """Whether anything is left to run at this instant."""
        return bool(self._ready) or bool(self._heap and self._heap[0][0] <= self._now)

    def timers(self) -> list[asyncio.TimerHandle]:
        """The timers that are set and not cancelled, in no order."""
        return [timer for _, _, timer in self._heap if not timer.cancelled()]

    def run_forever(self) -> None:
        """Run until stopped, with every control in force. Raises `Stuck`; the loop can be run
        again after it.
        """
        self._home = threading.get_ident()
        with controls(audit=self._audit, breaches=self.breaches):
            self._passes_here = 0
            super().run_forever()

    def create_future(self) -> asyncio.Future[Any]:
        """A future that hashes in creation order."""
        return OrderedFuture(loop=self)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As the base class, but timers of one instant keep the order they were set in."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        timer = OwnedTimer(when, callback, args, self, context)
        heapq.heappush(self._heap, (when, next(self.numbers), timer))
        timer._scheduled = True  # noqa: SLF001 - as BaseEventLoop.call_at marks it
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if handle._scheduled:  # type: ignore[attr-defined]  # noqa: SLF001 - as BaseEventLoop has it
            self._cancelled_timers += 1

    def _call_soon(self, callback: Any, args: Any, context: Context | None) -> asyncio.Handle:
        handle = OwnedHandle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def take_up(self, handles: Iterable[asyncio.Handle]) -> None:
        """Have callbacks run that their owner held back, in this order, after what is ready now."""
        self._ready.extend(handles)

    def bury(self, owner: Owner) -> None:
        """Keep the tasks of an owner that has ended: a task that nobody refers to would run its `finally` blocks."""
        self._keep([task for task in pending(self) if isinstance(task, OrderedTask) and task.owner is owner])

    def _keep(self, dead: Sequence[asyncio.Task[Any]]) -> None:
        self._abandon(dead)
        self._graves.update(dict.fromkeys(dead))

    def lay_to_rest(self) -> None:
        """Let the tasks go whose owner has ended. Their `finally` blocks run now, when the loop is closed and the run over;
        what they raise is nobody's.
        """
        self.set_exception_handler(lambda _loop, _context: None)
        for task in self._graves:
            step = task.get_coro()
            for _ in range(CLOSINGS):
                OwnedHandle(step.close, (), self, unowned())._run()  # noqa: SLF001
        self._graves.clear()

    def call_soon_threadsafe(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As `call_soon` from the loop's own thread; from any other raises `Fenced`."""
        if threading.get_ident() != self._home:
            raise breach("call_soon_threadsafe from another thread", "no thread joins in", self.breaches)
        return self.call_soon(callback, *args, context=context)

    def set_task_factory(self, factory: Any) -> None:
        """Raises `Fenced` for any factory: the loop's own keeps tasks in order, an eager one
        changes the interleaving.
        """
        raise breach(f"task factory {factory!r}", "tasks are made by the loop itself", self.breaches)

    def wind_down(self) -> Stuck | None:
        """Cancel what is left, oldest first, and run it to its end.

        Returns why that was not possible, if so; the tasks it names are abandoned.
        """
        self._keep([task for task in pending(self) if not _may_run(task)])
        left = self._living()
        hopeless = entangled(left)
        tasks = [task for task in left if task not in hopeless]
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                self.run_until_complete(asyncio.wait(tasks))
            self.run_until_complete(self.shutdown_asyncgens())
        except Stuck as stuck:
            self._abandon(pending(self))
            return stuck
        self._report_failures(tasks)
        self._abandon(hopeless)
        return Deadlock(self._told("deadlock: tasks wait for each other")) if hopeless else None

    def _living(self) -> list[asyncio.Task[Any]]:
        return [task for task in pending(self) if task not in self._graves]

    def _abandon(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        for task in tasks:
            # `Stuck` has named it already; the log need not.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001

    def _report_failures(self, tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                message = "task failed while the virtual loop was winding down"
                self.call_exception_handler({"message": message, "exception": error, "task": task})

    # a pass

    def _run_once(self) -> None:
        """As the base class, with time moved where that one would wait."""
        self._drop_cancelled()
        if not self._ready and not self._stopping:
            self._advance()
        self._count_pass()
        due = self._take_due()
        if self._explore:
            self._mix(due)
        ready = self._ready
        ready.extend(due)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001

    def _drop_cancelled(self) -> None:
        """All of them where they are the most, else those that come first."""
        heap = self._heap
        if self._cancelled_timers > MOST_CANCELLED and self._cancelled_timers * 2 > len(heap):
            heap[:] = [entry for entry in heap if not entry[2].cancelled()]
            heapq.heapify(heap)
            self._cancelled_timers = 0
        while heap and heap[0][2].cancelled():
            heapq.heappop(heap)
            self._cancelled_timers -= 1

    def _advance(self) -> None:
        """Let time pass, and no more than needed."""
        if not self._heap:
            raise Deadlock(self._told("deadlock: nothing is ready and no timer is set"))
        when = self._heap[0][0]
        if when > self._now:
            self._jump(when)

    def _jump(self, when: float) -> None:
        if math.isinf(when):
            raise Deadlock(self._told("deadlock: nothing is ready, every timer is infinite"))
        if when > self._horizon:
            raise OutOfTime(self._told(f"the next timer, at {when} s, is past the horizon"))
        self._now = when
        self._passes_here = 0

    def _count_pass(self) -> None:
        self._passes += 1
        self._passes_here += 1
        if self._passes_here > self._passes_allowed:
            told = self._told(f"livelock: {self._passes_here} passes")
            raise Livelock(f"{told}\n  ready: {ready_summary(self._ready)}")
        if self._passes % PASSES_PER_COLLECTION == 0:
            gc.collect()

    def _take_due(self) -> list[asyncio.Handle]:
        due: list[asyncio.Handle] = []
        heap, now = self._heap, self._now
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            timer._scheduled = False  # noqa: SLF001 - as BaseEventLoop._run_once marks it
            if timer.cancelled():
                self._cancelled_timers -= 1
            due.append(timer)
        return due

    def _mix(self, due: list[asyncio.Handle]) -> None:
        if len(due) > 1:
            due[:] = self._drawn_order(due)
        if len(self._ready) < 2:
            return
        places = [place for place, handle in enumerate(self._ready) if task_of(handle) is not None]
        steps = self._drawn_order([self._ready[place] for place in places])
        for place, handle in zip(places, steps, strict=True):
            self._ready[place] = handle

    def _drawn_order(self, handles: list[asyncio.Handle]) -> list[asyncio.Handle]:
        draw = self.streams.stream(SCHEDULE_STREAM).below
        rest = list(handles)
        order = [rest.pop(draw(len(rest))) for _ in range(len(rest) - 1)]
        return order + rest

    def _told(self, what: str) -> str:
        return f"{what}, at {self._now} s of virtual time\n{await_graph(self._living())}"

    # no pipe to wake the loop from other threads, for there are none

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        pass


def run(
    main: Callable[..., Coroutine[Any, Any, T]],
    *args: Any,
    seed: int | Streams = 0,
    **options: Unpack[Options],
) -> T:
    """Run `main(*args)` on a new virtual loop and return its result, as `asyncio.run` does on a
    real one.

    `seed` is a number, or streams made before (a replay). `options` are those of `VirtualLoop`.
    Tasks left over are cancelled, oldest first. Raises what `main` raises; `Stuck` if the
    program cannot go on; `Fenced` if it touched a fence, even where it caught that error itself.
    """
    with open_loop(seed, **options) as loop:
        return loop.run_until_complete(main(*args))


@contextmanager
def open_loop(seed: int | Streams = 0, **options: Unpack[Options]) -> Iterator[VirtualLoop]:
    """A virtual loop, wound down and closed at the end of the block; for the rest see `run`."""
    streams = seed if isinstance(seed, Streams) else Streams(seed)
    with _Closing(VirtualLoop(streams, **options)) as loop:
        yield loop


def loop_factory(seed: int = 0, **options: Unpack[Options]) -> Callable[[], VirtualLoop]:
    """A factory of virtual loops, each with fresh streams of `seed`: for asyncio.Runner and
    pytest-asyncio.
    """
    return lambda: VirtualLoop(Streams(seed), **options)


def running_loop() -> VirtualLoop:
    """The virtual loop that runs the caller. Raises `RuntimeError` if no loop runs, `TypeError` if
    it is not a virtual one.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError("the running loop is not virtual; start with forebay.scenarios.loop.run")
    return loop


class _Closing:
    """Winds a loop down and closes it; what goes wrong there is added to the error that ended
    the run, or raised.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def __enter__(self) -> VirtualLoop:
        return self._loop

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        stuck = self._loop.wind_down()
        self._loop.close()
        self._loop.lay_to_rest()
        troubles: list[RuntimeError] = [one for one in self._loop.breaches if one is not error]
        if stuck is not None and not isinstance(error, Stuck):
            troubles.append(stuck)
        if error is not None:
            for trouble in troubles:
                error.add_note(f"also: {trouble}")
        elif troubles:
            raise troubles[0]


def _may_run(task: asyncio.Task[Any]) -> bool:
    return not isinstance(task, OrderedTask) or task.owner is None or task.owner.running


def _ordered_task(
    loop: Any,
    coro: Any,
    *,
    name: str | None = None,
    context: Context | None = None,
    eager_start: bool | None = None,
) -> OrderedTask:
    if eager_start:
        raise breach("a task with eager_start", "it changes the interleaving", loop.breaches)
    return OrderedTask(coro, loop=loop, name=name, context=context)
