"""Plays a program on the plain model and on a runtime and says where the two part."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from property.model_actor import ActorRun
from property.model_terms import Event, Place, Undetermined
from property.supervisor_model import World
from support.supervision import Stage
from support.supervision_programs import Op, Program, share

from forebay.scenarios import loop as virtual

OWN = ("Incident", "Escalated")
LIFE = ("Started", "StartFailed", "Exited")
NEAR = 1e-6
PATIENT = 1e6
"""Seconds of grace where all that is needed is granted."""


def check(program: Program) -> World | None:
    """Raise `AssertionError` where runtime and model differ; None if the rules leave the outcome open."""
    try:
        world, trees = predict(program)
    except Undetermined:
        return None
    stage = Stage(program)
    virtual.run(stage.play)
    compare_stories(world.log, stage.log)
    for index, (expected, found) in enumerate(zip(trees, stage.trees, strict=True)):
        assert expected == found, f"the tree before operation {index}: {tree_difference(expected, found)}"
    compare_answers(world.answers, stage.answers)
    assert world.root_exit == stage.root_exit, f"the root: expected {world.root_exit}, found {stage.root_exit}"
    assert stage.wrongs == [], stage.wrongs
    if program.grace is not None:
        assert stage.stop_seconds <= program.grace + 1.0 + NEAR, f"S5: the stop took {stage.stop_seconds} s"
    return world


def predict(program: Program) -> tuple[World, list[dict[str, Place]]]:
    """Play the program on the model; return it, and the tree before each operation and before the stop."""
    world = World(program.tree, share)
    trees = []
    for number, op in enumerate(program.ops):
        world.advance(op.at)
        trees.append(world.tree())
        if op.verb in ("start", "terminate", "restart", "delete"):
            request(world, number, op)
        else:
            disturb(world, op)
        world.settle()
    world.advance(program.stop_at)
    trees.append(world.tree())
    world.root.stop(PATIENT if program.grace is None else program.grace)
    world.settle()
    world.advance(program.stop_at + PATIENT)
    return world, trees


def request(world: World, number: int, op: Op) -> None:
    run = world.supervisor_at(op.path)
    if run is None:
        world.answers.append((world.now, number, "NoSuchChild"))
    else:
        run.request(number, op.verb, op.subject)


def disturb(world: World, op: Op) -> None:
    run = world.run_at(op.path)
    if op.verb == "cancel" and run is not None:
        run.cancel()
    elif op.verb == "crash both":
        for path in (op.path, op.subject):
            if isinstance(run := world.run_at(path), ActorRun):
                run.unordered = True
                run.crash("bug")
    elif isinstance(run, ActorRun):
        {"crash": run.crash, "finish": run.finish, "busy": run.busy}[op.verb](op.subject)


# ------------------------------------------------------------------------------------ comparing


def compare_stories(expected: list[Event], found: list[Event]) -> None:
    """Under each supervisor events and times are the same. Between supervisors nothing but time orders."""
    one, other = views(expected), views(found)
    for path in sorted(one.keys() | other.keys()):
        told = difference(one.get(path, []), other.get(path, []))
        assert told is None, f"under {path}:{told}"


def views(log: list[Event]) -> dict[str, list[Event]]:
    """What happened under each supervisor, its own start and end included."""
    found: dict[str, list[Event]] = {}
    for event in log:
        if event.kind not in OWN:
            found.setdefault(event.path.rpartition("/")[0] or "/", []).append(event)
        if event.kind in OWN or event.kind in LIFE:
            found.setdefault(event.path, []).append(event)
    return found


def difference(expected: list[Event], found: list[Event]) -> str | None:
    """Where two stories part, with what led to it."""
    found = reordered(expected, found)
    for index, (one, other) in enumerate(itertools.zip_longest(expected, found)):
        if one is None or other is None or not alike(one, other):
            before = "".join(f"\n           {event}" for event in found[max(0, index - 6) : index])
            return f"{before}\n  expected {one}\n  found    {other}"
    return None


def alike(one: Event, other: Event) -> bool:
    return essence(one) == essence(other) and abs(one.at - other.at) < NEAR


def essence(event: Event) -> tuple[Any, ...]:
    return event.kind, event.path, event.incarnation, event.detail


def reordered(expected: list[Event], found: list[Event]) -> list[Event]:
    """Put what happened in parallel at one instant into the order in which it was predicted."""
    result: list[Event] = []
    for (_, unordered), events in itertools.groupby(expected, key=lambda event: (event.at, event.unordered)):
        wanted = [essence(event) for event in events]
        part = found[len(result) : len(result) + len(wanted)]
        if unordered and sorted(wanted) == sorted(map(essence, part)):
            part.sort(key=lambda event: wanted.index(essence(event)))
        result += part
    return result + found[len(result) :]


def compare_answers(expected: Iterable[tuple[float, int, str]], found: Iterable[tuple[float, int, str]]) -> None:
    for one, other in itertools.zip_longest(sorted(expected, key=by_number), sorted(found, key=by_number)):
        same = one is not None and other is not None and one[1:] == other[1:] and abs(one[0] - other[0]) < NEAR
        assert same, f"the answer to a request: expected {one}, found {other}"


def by_number(answer: tuple[float, int, str]) -> int:
    return answer[1]


def tree_difference(expected: dict[str, Place], found: dict[str, Place]) -> str:
    paths = [path for path in {**expected, **found} if expected.get(path) != found.get(path)]
    return "; ".join(f"{path}: expected {expected.get(path)}, found {found.get(path)}" for path in paths)


# ------------------------------------------------------------------------------------ what occurred

GROUP_RESTART = "a group restart"
FAILED_START = "a failed start that is retried"
TWO_LEVELS = "an escalation over two levels"
STOP_IN_RESTART = "a stop during a restart"


def occurrences(world: World) -> set[str]:
    """Which of the hard things happened in this run."""
    seen = {STOP_IN_RESTART} if world.stopped_in_restart else set()
    escalated = {event.path for event in world.log if event.kind == "Escalated"}
    failed: set[str] = set()
    for event in world.log:
        if event.kind == "Incident" and len(event.detail[2]) > 1:
            seen.add(GROUP_RESTART)
        elif event.kind == "StartFailed":
            failed.add(event.path)
        elif event.kind == "RestartScheduled" and event.path in failed:
            seen.add(FAILED_START)
        elif event.kind == "Escalated" and event.path.rstrip("/") + "/" + event.detail[0] in escalated:
            seen.add(TWO_LEVELS)
    return seen
