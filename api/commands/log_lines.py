"""Events as log lines: `time level event path=... incarnation=... detail="..."`, one line each (logfmt)."""

from __future__ import annotations

import json
import logging
import re
import traceback
from datetime import UTC, datetime
from typing import Final

from forebay.actors.events import (
    DeadLetter,
    Dropped,
    Escalated,
    Event,
    Exited,
    HandlerStuck,
    Incident,
    LoopLag,
    Noted,
    Parked,
    Started,
    StartFailed,
    Zombie,
)
from forebay.actors.exits import Exit, Failed, Normal, Shutdown
from forebay.actors.gate.binding import CannotBind
from forebay.backends.errors import BackendError
from forebay.supervisors.requests import ChildStartFailed, RestartsExhausted

_PLAIN: Final = re.compile(r"[\w./:@\[\]+-]+\Z", re.ASCII)
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ROUTINE: Final = frozenset({"recorded", "retention_left"})
"""Domain events that come with every few jobs, or every minute."""
_WARNINGS: Final = (DeadLetter, Dropped, HandlerStuck, LoopLag)
_EXPLAINED: Final = (BackendError, CannotBind, ChildStartFailed, RestartsExhausted)
_ERRORS: Final = (Escalated, Parked, Zombie)


def hush_clients() -> None:
    """Keep the Kafka client's own log off standard error: what it meets reaches us as errors, and is told as events.

    For a process of our own only; a host that embeds a runtime sets up logging as it likes.
    """
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())


def line_of(event: Event, now: int, *, verbose: bool) -> str | None:
    """Return the line for an event at `now` (Unix ms); None for one that is logged only when `verbose`."""
    level = level_of(event)
    if level == "debug" and not verbose:
        return None
    at = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = {"path": event.path, "incarnation": str(event.incarnation or ""), **_fields(event)}
    if level == "error" and (trace := _traceback(event, verbose=verbose)):
        fields["traceback"] = trace
    words = [f"{name}={_quoted(value)}" for name, value in fields.items() if value]
    return " ".join([at, level, _name(event), *words])


def _fields(event: Event) -> dict[str, str]:
    if isinstance(event, Noted):
        return {name: str(value) for name, value in event.fields}
    return {"detail": event.detail()}


def level_of(event: Event) -> str:
    """Return debug, info, warning or error."""
    if isinstance(event, Exited | StartFailed):
        return _level_of_exit(event.exit)
    if isinstance(event, Started):
        return "debug" if event.incarnation == 1 else "info"
    if isinstance(event, Noted) and event.name in _ROUTINE:
        return "debug"
    if isinstance(event, Incident) and event.environment:
        return "debug"  # the exit that caused it was told as a warning
    if isinstance(event, _ERRORS):
        return "error"
    return "warning" if isinstance(event, _WARNINGS) else "info"


def _level_of_exit(exit_: Exit) -> str:
    if isinstance(exit_, Normal | Shutdown):
        return "debug"
    return "warning" if isinstance(exit_, Failed) and exit_.environment else "error"


def _name(event: Event) -> str:
    """A domain event's own name, else the class's: `RestartScheduled` -> `restart_scheduled`."""
    if isinstance(event, Noted):
        return event.name
    return _WORDS.sub("_", type(event).__name__).lower()


def _quoted(value: str) -> str:
    return value if _PLAIN.match(value) else json.dumps(value, ensure_ascii=False)


def _traceback(event: Event, *, verbose: bool) -> str:
    """Errors of ours say what happened and what to do; for all others the traceback leads to the fault."""
    exit_ = event.exit if isinstance(event, Exited | StartFailed) else None
    if not isinstance(exit_, Failed) or (isinstance(exit_.error, _EXPLAINED) and not verbose):
        return ""
    return "".join(traceback.format_exception(exit_.error))
