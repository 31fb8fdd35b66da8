"""OpenTelemetry metrics of runtimes: counters fed by their events, and plain integers read when an exporter collects.

Only the API package is used: the program that embeds a runtime decides on exporters, and without any this does nothing. A
message costs nothing here: what is counted per message is read from the mailboxes at collection, from whatever thread the
exporter does that in. docs/observing.md lists the instruments.
"""

from __future__ import annotations

import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self
from weakref import WeakKeyDictionary

from attrs import field, frozen
from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter

from forebay.actors.cell import Cell
from forebay.actors.events import (
    Dropped,
    Escalated,
    Event,
    Exited,
    HandlerStuck,
    LoopLag,
    Noted,
    Parked,
    Started,
    StartFailed,
    Zombie,
)
from forebay.supervisors.runtime import Runtime

DEPTH: Final = 3

_COUNTED: Final = {
    Exited: ("forebay.actor.exits", "{exit}", "incarnations that have ended"),
    StartFailed: ("forebay.actor.start_failures", "{start}", "incarnations that ended before they had started"),
    Escalated: ("forebay.supervisor.escalations", "{escalation}", "restart budgets that were used up"),
    Parked: ("forebay.actor.parked", "{actor}", "children left down because their budget was used up"),
    HandlerStuck: ("forebay.handler.stuck", "{handler}", "handlers over their soft limit"),
    Dropped: ("forebay.mailbox.dropped", "{message}", "messages dropped by an overflow policy"),
    Zombie: ("forebay.actor.zombies", "{task}", "tasks that outlived their actor"),
}

_NOTED: Final = {
    "shadowed": ("forebay.relay.shadowed", "{record}", "records that were read and dropped because they are shadows"),
    "put_back": ("forebay.relay.put_back", "{job}", "jobs that the queue refused and that went back into the log"),
    "parked": ("forebay.relay.parked", "{record}", "records that were set aside for a person"),
}


class RuntimeMeter:
    """The instruments, for any number of runtimes: `with RuntimeMeter().watch(runtime): ...`.

    `meter` is by default the global provider's, named `forebay`. The attribute `path` is cut to its first `depth` parts, so
    that children which come and go do not make a time series each. Make one per process: OpenTelemetry admits an
    instrument of one name once.
    """

    def __init__(self, meter: Meter | None = None, *, depth: int = DEPTH) -> None:
        meter = meter or get_meter("forebay")
        self._depth = depth
        self._watches: list[Watch] = []
        self._restarts = meter.create_counter("forebay.actor.restarts", "{restart}", "incarnations after the first")
        self._lag = meter.create_histogram("forebay.loop.lag", "s", "how late the event loop was")
        self._counters = {kind: meter.create_counter(*names) for kind, names in _COUNTED.items()}
        self._notes = {name: meter.create_counter(*names) for name, names in _NOTED.items()}
        self._observe(meter)

    def _observe(self, meter: Meter) -> None:
        gauge, counter = meter.create_observable_gauge, meter.create_observable_counter
        gauge("forebay.relay.retention_left", [self._callback(_retention_left)], "s", "until retention takes an unended job")
        gauge("forebay.mailbox.depth", [self._callback(_depths)], "{message}", "messages that wait")
        gauge("forebay.actor.running", [self._callback(_running)], "{actor}", "actors that run")
        counter("forebay.actor.messages", [self._callback(_handled)], "{message}", "messages that were handled")
        counter("forebay.actor.busy", [self._callback(_busy)], "s", "time in handlers, their waits included")
        counter("forebay.mailbox.dead_letters", [self._callback(_dead_letters)], "{message}", "messages that reached nobody")

    def watch(self, runtime: Runtime, /, **attributes: str) -> Watch:
        """Measure a runtime from now on, until `close` or the end of the `with` block; `attributes` tell it from others."""
        watch = Watch(self, runtime, attributes)
        self._watches.append(watch)
        return watch

    def cut(self, path: str) -> str:
        """The attribute for a path."""
        return "/".join(path.split("/")[: self._depth + 1])

    def count(self, event: Event, attributes: dict[str, str]) -> None:
        """Count one event."""
        if isinstance(event, LoopLag):
            self._lag.record(event.lag, attributes)
            return
        attributes = {**attributes, "path": self.cut(event.path)}
        if isinstance(event, Started) and event.incarnation > 1:
            self._restarts.add(1, attributes)
        elif isinstance(event, Noted) and (noted := self._notes.get(event.name)) is not None:
            noted.add(int(dict(event.fields).get("records") or 1), attributes)
        elif (counter := self._counters.get(type(event))) is not None:
            if isinstance(event, Exited | StartFailed):
                attributes["exit"] = type(event.exit).__name__.lower()
            counter.add(1, attributes)

    def forget(self, watch: Watch) -> None:
        """Measure this runtime no more."""
        if watch in self._watches:
            self._watches.remove(watch)

    def _callback(self, read: Callable[[Watch], Mapping[str, float]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            for watch in tuple(self._watches):
                for path, value in read(watch).items():
                    yield Observation(value, {**watch.attributes, "path": path})

        return observe


@frozen
class _Counts:
    """What has been counted of one cell already."""

    handled: int = 0
    dead_letters: int = 0
    busy: float = 0.0


@frozen(eq=False)
class Watch:
    """One runtime under measurement."""

    meter: RuntimeMeter
    runtime: Runtime
    attributes: dict[str, str]
    handled: Tally[str] = field(init=False, factory=Tally)
    dead_letters: Tally[str] = field(init=False, factory=Tally)
    busy: dict[str, float] = field(init=False, factory=dict)
    retention_left: dict[str, float] = field(init=False, factory=dict)
    _seen: WeakKeyDictionary[Cell, _Counts] = field(init=False, factory=WeakKeyDictionary)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self.runtime.events.listen(self._event)

    def close(self) -> None:
        """Stop measuring; safe to call again."""
        self.runtime.events.unlisten(self._event)
        self.meter.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def cells(self) -> list[Cell]:
        """The places of the tree as it is now, from any thread."""
        find = self.runtime.system.find
        return [cell for path in self.runtime.system.paths() if (cell := find(path)) is not None]

    def update(self) -> None:
        """Bring the totals up to date."""
        for cell in self.cells():
            self._add(cell)

    def _event(self, event: Event) -> None:
        self.meter.count(event, self.attributes)
        if isinstance(event, Noted) and event.name == "retention_left":
            self.retention_left[event.path] = float(dict(event.fields)["seconds"] or 0)
        elif isinstance(event, Exited):
            self.retention_left.pop(event.path, None)  # who looks next may be another process
        if isinstance(event, Exited) and (cell := self.runtime.system.find(event.path)) is not None:
            self._add(cell)  # it may be gone at the next collection

    def _add(self, cell: Cell) -> None:
        """Add what is new of a cell, so that totals never fall when its place is removed."""
        with self._lock:
            seen = self._seen.get(cell, _Counts())
            now = self._seen[cell] = _Counts(cell.handled, cell.dead_letters, cell.busy)
            path = self.meter.cut(cell.path)
            self.handled[path] += now.handled - seen.handled
            self.dead_letters[path] += now.dead_letters - seen.dead_letters
            self.busy[path] = self.busy.get(path, 0.0) + now.busy - seen.busy


def _handled(watch: Watch) -> Tally[str]:
    watch.update()
    return watch.handled.copy()


def _busy(watch: Watch) -> Mapping[str, float]:
    watch.update()
    return watch.busy.copy()


def _dead_letters(watch: Watch) -> Tally[str]:
    watch.update()
    return watch.dead_letters.copy()


def _retention_left(watch: Watch) -> Mapping[str, float]:
    return {watch.meter.cut(path): seconds for path, seconds in tuple(watch.retention_left.items())}


def _depths(watch: Watch) -> Tally[str]:
    depths: Tally[str] = Tally()
    for cell in watch.cells():
        depths[watch.meter.cut(cell.path)] += len(cell.mailbox.user)
    return depths


def _running(watch: Watch) -> Tally[str]:
    running: Tally[str] = Tally()
    for cell in watch.cells():
        running[watch.meter.cut(cell.path)] += cell.process is not None
    return running
