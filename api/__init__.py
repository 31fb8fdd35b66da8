"""forebay: the job queue that cannot lock up, and the actor runtime that it stands on.

Everything a program needs is importable from here. Names are looked up when they are first used, so a module of handlers
that says `from forebay import job` loads neither the runtime nor any client library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from forebay.actors.actor import Actor
    from forebay.actors.cell import Down
    from forebay.actors.context import Context
    from forebay.actors.events import (
        DeadLetter,
        Dropped,
        Escalated,
        Event,
        EventStream,
        Exited,
        HandlerStuck,
        Incident,
        LoopLag,
        Noted,
        Parked,
        RestartScheduled,
        Started,
        StartFailed,
        Subscription,
        Zombie,
    )
    from forebay.actors.exits import (
        Abandoned,
        ActorError,
        EnvironmentExit,
        Exit,
        Failed,
        HandlerTimeout,
        Killed,
        Normal,
        Shutdown,
        StartTimeout,
        SupervisorStopped,
        UnexpectedCancellation,
        describe,
    )
    from forebay.actors.mailbox import ActorStopped, MailboxFull, MailboxSpec
    from forebay.actors.process import Limits
    from forebay.actors.ref import ActorDied, AskCycle, AskTimeout, Caller, Ref
    from forebay.actors.snapshot import MailboxView, Node, State
    from forebay.config.problems import ConfigError, Problem
    from forebay.config.values import Backoff, Intensity, Overflow
    from forebay.jobs.context import Fail, JobContext, RetryAfter
    from forebay.jobs.policy import RetryPolicy
    from forebay.jobs.registry import DuplicateHandler, Registry, job
    from forebay.supervisors.control import SupervisorRef
    from forebay.supervisors.job_runtime import Enqueued, HandlersNotLoaded, JobRuntime
    from forebay.supervisors.meter import RuntimeMeter
    from forebay.supervisors.requests import (
        ChildStartFailed,
        NoSuchChild,
        RestartsExhausted,
        WrongChildState,
    )
    from forebay.supervisors.runtime import Ending, Resource, Runtime, RuntimeFailed, RuntimeStartFailed, StopReport
    from forebay.supervisors.spec import AutoShutdown, ChildSpec, Exhausted, InvalidTree, Restart, Strategy, SupervisorSpec

_NAMES: Final = {
    "forebay.actors.actor": "Actor",
    "forebay.actors.cell": "Down",
    "forebay.actors.context": "Context",
    "forebay.actors.events": (
        "DeadLetter Dropped Escalated Event EventStream Exited HandlerStuck Incident LoopLag Noted Parked "
        "RestartScheduled Started StartFailed Subscription Zombie"
    ),
    "forebay.actors.exits": (
        "Abandoned ActorError EnvironmentExit Exit Failed HandlerTimeout Killed Normal Shutdown StartTimeout "
        "SupervisorStopped UnexpectedCancellation describe"
    ),
    "forebay.actors.mailbox": "ActorStopped MailboxFull MailboxSpec",
    "forebay.actors.process": "Limits",
    "forebay.actors.ref": "ActorDied AskCycle AskTimeout Caller Ref",
    "forebay.actors.snapshot": "MailboxView Node State",
    "forebay.config.problems": "ConfigError Problem",
    "forebay.config.values": "Backoff Intensity Overflow",
    "forebay.jobs.context": "Fail JobContext RetryAfter",
    "forebay.jobs.policy": "RetryPolicy",
    "forebay.jobs.registry": "DuplicateHandler Registry job",
    "forebay.supervisors.control": "SupervisorRef",
    "forebay.supervisors.job_runtime": "Enqueued HandlersNotLoaded JobRuntime",
    "forebay.supervisors.meter": "RuntimeMeter",
    "forebay.supervisors.requests": "ChildStartFailed NoSuchChild RestartsExhausted WrongChildState",
    "forebay.supervisors.runtime": "Ending Resource Runtime RuntimeFailed RuntimeStartFailed StopReport",
    "forebay.supervisors.spec": "AutoShutdown ChildSpec Exhausted InvalidTree Restart Strategy SupervisorSpec",
}
"""Where each public name lives; the imports above, which type checkers read, and `__all__` name the same."""

_HOMES: Final = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Abandoned",
    "Actor",
    "ActorDied",
    "ActorError",
    "ActorStopped",
    "AskCycle",
    "AskTimeout",
    "AutoShutdown",
    "Backoff",
    "Caller",
    "ChildSpec",
    "ChildStartFailed",
    "ConfigError",
    "Context",
    "DeadLetter",
    "Down",
    "Dropped",
    "DuplicateHandler",
    "Ending",
    "Enqueued",
    "EnvironmentExit",
    "Escalated",
    "Event",
    "EventStream",
    "Exhausted",
    "Exit",
    "Exited",
    "Fail",
    "Failed",
    "HandlerStuck",
    "HandlerTimeout",
    "HandlersNotLoaded",
    "Incident",
    "Intensity",
    "InvalidTree",
    "JobContext",
    "JobRuntime",
    "Killed",
    "Limits",
    "LoopLag",
    "MailboxFull",
    "MailboxSpec",
    "MailboxView",
    "NoSuchChild",
    "Node",
    "Normal",
    "Noted",
    "Overflow",
    "Parked",
    "Problem",
    "Ref",
    "Registry",
    "Resource",
    "Restart",
    "RestartScheduled",
    "RestartsExhausted",
    "RetryAfter",
    "RetryPolicy",
    "Runtime",
    "RuntimeFailed",
    "RuntimeMeter",
    "RuntimeStartFailed",
    "Shutdown",
    "StartFailed",
    "StartTimeout",
    "Started",
    "State",
    "StopReport",
    "Strategy",
    "Subscription",
    "SupervisorRef",
    "SupervisorSpec",
    "SupervisorStopped",
    "UnexpectedCancellation",
    "WrongChildState",
    "Zombie",
    "describe",
    "job",
]


def __getattr__(name: str) -> object:
    """Import a public name from where it lives, once."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'forebay' has no attribute {name!r}; its names are in forebay.__all__")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
