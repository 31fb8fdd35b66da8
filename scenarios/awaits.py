"""Who waits for what: the pending tasks of a loop, told by name."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

from forebay.scenarios.order import OrderedTask


def pending(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """The loop's unfinished tasks in creation order; tasks that the loop did not make come last,
    by name.
    """
    return sorted(asyncio.all_tasks(loop), key=_age)


def await_graph(tasks: Iterable[asyncio.Task[Any]]) -> str:
    """One line per task: its name, where it stands, outermost call first, and what it waits for;
    then any cycle.
    """
    tasks = list(tasks)
    lines = [f"  {task.get_name()}: {_place(task)} waits for {_target(task)}" for task in tasks]
    lines += [f"  cycle: {' -> '.join(names)}" for names in _cycles(tasks)]
    return "\n".join(lines) or "  no task is pending"


def entangled(tasks: Iterable[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Those of the tasks that wait, directly or through others of them, for a cycle of tasks.

    None of them can ever end, and none can be cancelled: CPython passes the request round the
    cycle until the stack overflows.
    """
    left = dict.fromkeys(tasks)
    while free := [t for t in left if not any(one in left for one in _awaited(_waiter(t)))]:
        for task in free:
            del left[task]
    return list(left)


def task_of(handle: asyncio.Handle) -> asyncio.Task[Any] | None:
    """The task that a callback is a step of, or None for any other callback."""
    owner = getattr(getattr(handle, "_callback", None), "__self__", None)
    return owner if isinstance(owner, asyncio.Task) else None


def ready_summary(handles: Iterable[asyncio.Handle]) -> str:
    """What a ready queue holds: task and callback names, each with its count."""
    names = Counter(_label(handle) for handle in handles)
    return ", ".join(f"{name} x{count}" for name, count in sorted(names.items())) or "nothing"


def _label(handle: asyncio.Handle) -> str:
    task = task_of(handle)
    if task is not None:
        return f"task {task.get_name()}"
    callback = getattr(handle, "_callback", None)
    return f"callback {getattr(callback, '__qualname__', type(callback).__name__)}"


def _age(task: asyncio.Task[Any]) -> tuple[bool, int, str]:
    if isinstance(task, OrderedTask):
        return False, task.number, ""
    return True, 0, task.get_name()


def _place(task: asyncio.Task[Any]) -> str:
    return " > ".join(_frames(task.get_coro())) or "(no frame)"


def _frames(awaitable: Any) -> Iterator[str]:
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
        if frame is None:
            return
        code = frame.f_code
        yield f"{code.co_qualname} ({PurePath(code.co_filename).name}:{frame.f_lineno})"
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)


def _waiter(task: asyncio.Task[Any]) -> Any:
    return getattr(task, "_fut_waiter", None)


def _target(task: asyncio.Task[Any]) -> str:
    if _waiter(task) is None:
        return "its turn"
    awaited = _awaited(_waiter(task))
    return ", ".join(f"task {one.get_name()}" for one in awaited) or "a future that nobody has set"


def _awaited(future: Any) -> list[asyncio.Task[Any]]:
    """The unfinished tasks whose end would set this future: itself, or the members of a gather."""
    if future is None or future.done():
        return []
    if isinstance(future, asyncio.Task):
        return [future]
    return [task for child in getattr(future, "_children", ()) for task in _awaited(child)]


def _cycles(tasks: list[asyncio.Task[Any]]) -> Iterator[list[str]]:
    left = dict.fromkeys(entangled(tasks))
    seen: set[asyncio.Task[Any]] = set()
    for start in left:
        path: list[asyncio.Task[Any]] = []
        task = start
        while task not in seen:
            seen.add(task)
            path.append(task)
            task = next(one for one in _awaited(_waiter(task)) if one in left)
        if task in path:
            ring = path[path.index(task) :]
            yield [member.get_name() for member in (*ring, task)]
