"""A member's log lines as the events that they were written of, as far as checks and sightings look at them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

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
    RestartScheduled,
    Started,
    StartFailed,
    Zombie,
)
from forebay.actors.exits import Abandoned, EnvironmentExit, Exit, Failed, Killed, Normal, Shutdown
from forebay.scenarios.fleet.log_reader import Happening


class LoggedFailure(Exception):
    """What an actor failed with in another process, as its log tells it."""


class LoggedOutage(EnvironmentExit):
    """The same, where the world around the actor was the cause."""


Place = Mapping[str, Any]
"""Time, path and incarnation of an event."""

_DELAY: Final = re.compile(r"in ([\d.]+) s after (\d+) in a row")
_SECONDS: Final = re.compile(r"([\d.]+) s")
_MESSAGE: Final = re.compile(r"(\S+) \((.*)\)(?:, number (\d+))?", re.DOTALL)
_EXITS: Final[Mapping[str, Callable[[str], Exit]]] = {
    "normal": Normal,
    "shutdown": Shutdown,
    "killed": Killed,
    "abandoned": Abandoned,
}


def event_of(line: Happening, at: float) -> Event:
    """The event of a line, at a time of the run (seconds)."""
    place = {"at": at, "path": line.path, "incarnation": int(line.fields.get("incarnation", "0"))}
    make = _KINDS.get(line.name)
    if make is not None:
        return make(line, place)
    return _noted(line, place)


def _noted(line: Happening, place: Place) -> Event:
    own = tuple((name, value) for name, value in line.fields.items() if name not in {"path", "incarnation"})
    return Noted(name=line.name, fields=own, **place)


def _detail(line: Happening) -> str:
    return line.fields.get("detail", "")


def _exit(line: Happening) -> Exit:
    how, _, why = _detail(line).partition(": ")
    if how in _EXITS:
        return _EXITS[how](why)
    return Failed(LoggedOutage(why) if line.level == "warning" else LoggedFailure(why))


def _incident(line: Happening, place: Place) -> Event:
    child, _, again = _detail(line).partition(" -> ")
    restarting = () if again in ("", "-") else tuple(again.split(", "))
    return Incident(child=child, environment=line.level == "debug", restarting=restarting, **place)


def _scheduled(line: Happening, place: Place) -> Event:
    match = _DELAY.fullmatch(_detail(line))
    delay, failures = ("0", "0") if match is None else match.groups()
    return RestartScheduled(delay=float(delay), failures=int(failures), **place)


def _message(line: Happening) -> tuple[str, str, int]:
    match = _MESSAGE.fullmatch(_detail(line))
    return (_detail(line), "", 0) if match is None else (match[1], match[2], int(match[3] or 0))


def _dropped(line: Happening, place: Place) -> Event:
    message, why, _ = _message(line)
    return Dropped(message=message, why=why, **place)


def _dead_letter(line: Happening, place: Place) -> Event:
    message, why, count = _message(line)
    return DeadLetter(message=message, why=why, count=count, **place)


def _seconds(line: Happening) -> float:
    match = _SECONDS.search(_detail(line))
    return 0.0 if match is None else float(match[1])


_KINDS: Final[Mapping[str, Callable[[Happening, Place], Event]]] = {
    "started": lambda _, place: Started(**place),
    "start_failed": lambda line, place: StartFailed(exit=_exit(line), **place),
    "exited": lambda line, place: Exited(exit=_exit(line), **place),
    "incident": _incident,
    "restart_scheduled": _scheduled,
    "escalated": lambda line, place: Escalated(child=_detail(line), **place),
    "parked": lambda line, place: Parked(**place) if line.level == "error" else _noted(line, place),  # so is a record's
    "dropped": _dropped,
    "dead_letter": _dead_letter,
    "handler_stuck": lambda line, place: HandlerStuck(running=_seconds(line), **place),
    "loop_lag": lambda line, place: LoopLag(lag=_seconds(line), **place),
    "zombie": lambda line, place: Zombie(task=_detail(line), **place),
}
