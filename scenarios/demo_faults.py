"""What the demo does to its runtime on the way, each thing at its moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from forebay.actors.relay.campaign import lock_key
from forebay.actors.snapshot import Node, State
from forebay.supervisors.job_runtime import JobRuntime


class Mishap(Exception):
    """What the crashed actors of the demo fail with."""


@frozen
class Fault:
    """`when` is the share of the jobs that have been posted; `act` returns what it did, None if it could not yet."""

    when: float
    act: Callable[[JobRuntime, str], Awaitable[str | None]]


async def crash_a_busy_slot(runtime: JobRuntime, topic: str) -> str | None:
    """A worker slot dies while it runs a job."""
    del topic
    return _crash(runtime, lambda node: node.name.startswith("slot[") and bool(node.tasks))


async def crash_a_consumer(runtime: JobRuntime, topic: str) -> str | None:
    """A partition consumer dies."""
    del topic
    return _crash(runtime, lambda node: node.name.startswith("partition_consumer["))


async def take_the_lock_away(runtime: JobRuntime, topic: str) -> str | None:
    """Somebody deletes the topic's lock: the whole term must end, and another one begin."""
    key = lock_key(topic)
    await runtime.coordination.delete(key)
    return f"deleted the lock {key}"


FAULTS = (
    Fault(0.25, crash_a_busy_slot),
    Fault(0.45, crash_a_consumer),
    Fault(0.65, take_the_lock_away),
)


def _crash(runtime: JobRuntime, suits: Callable[[Node], bool]) -> str | None:
    found = next((node for node in runtime.tree().walk() if node.state is State.RUNNING and suits(node)), None)
    if found is None:
        return None
    runtime.inject(found.path, Mishap("crashed by the demo"))
    return f"crashed {found.name}"
