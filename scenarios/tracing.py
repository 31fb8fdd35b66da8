"""The trace of a tree: every event of a runtime, as entries."""

from __future__ import annotations

import re
from collections.abc import Callable

from forebay.actors.events import Event, EventStream
from forebay.scenarios.trace import Trace

_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")


def attach(events: EventStream, trace: Trace, place: str = "") -> Callable[[], None]:
    """Write each event of a runtime into `trace` from now on; return what ends that. `place` is put before the paths."""

    def write(event: Event) -> None:
        write_event(event, trace, place)

    events.listen(write)
    return lambda: events.unlisten(write)


def write_event(event: Event, trace: Trace, place: str = "") -> None:
    """Write one event into `trace`.

    An entry's detail is the event's, without memory addresses: an error's text may hold one, and two equal runs would then
    look different.
    """
    detail = _ADDRESS.sub("at ...", event.detail())
    trace.add(place + event.path, event.incarnation, type(event).__name__, detail or None)
