"""Mutation testing of supervisors/: change one thing, see whether a test notices. Survivors are listed.

    .venv/bin/python .ci/mutate.py [--jobs N] [MODULE ...]

Each mutant runs in a child process of its own, forked from one that has imported what does not change; the changed module is
compiled from its mutated text when the child imports it, so nothing is written to the tree and no flat copy is needed. The
suite that is to kill it: the unit tests of supervisors and of the ladder, then the supervisor machine without shrinking. Why
not mutmut: it takes a module's name from its path, and here `supervisors/` is `forebay.supervisors`.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

from attrs import frozen

ROOT: Final = Path(__file__).resolve().parents[1]
MODULES: Final = (
    "changes",
    "child",
    "control",
    "requests",
    "restarting",
    "spec",
    "stopping",
    "streams",
    "supervisor",
    "window",
)
PARTS: Final = ("spec", "restarting", "requests", "planned_restarts", "start_and_stop", "runtime", "streams", "tree")
SUITE: Final = (
    *(f"tests/unit/supervisors/test_{name}.py" for name in PARTS),
    *(f"tests/unit/actors/test_{name}.py" for name in ("delivery", "forced_ends", "shutdown", "timers")),
)
EXAMPLES: Final = 200
MEMORY_LIMIT: Final = 2 << 30
"""Bytes; a mutant may collect without end."""

CPU_LIMIT: Final = 15
TIME_LIMIT: Final = 150
"""Seconds, of the processor and of the clock, after which a mutant that hangs counts as killed."""


@frozen
class Mutant:
    """One change: the text between two offsets of a module becomes another."""

    module: str
    line: int
    begin: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"supervisors/{self.module}.py:{self.line}: {' '.join(self.old.split())}  ->  {self.new}"


# --- mutants

COMPARISONS: Final = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
ARITHMETIC: Final = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.Pow: "*"}
CALLS: Final = {"reversed": "list", "min": "max", "max": "min", "any": "all", "all": "any", "sum": "max"}


def mutants(module: str, text: str) -> Iterator[Mutant]:
    """Every change that is tried in one module."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in nodes(ast.parse(text)):
        for new in changes(node):
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
            yield Mutant(module, node.lineno, begin, end, text[begin:end], new)


def nodes(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """What runs: no annotations, docstrings, assertions, names of slots, or code for type checkers."""
    skipped: list[object] = []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        skipped = [*node.decorator_list, node.args, node.returns]
    elif isinstance(node, ast.AnnAssign):
        skipped = [node.annotation]
    for child in ast.iter_child_nodes(node):
        checked = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        slots = isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) == "__slots__"
        text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if (
            child in skipped
            or checked
            or slots
            or text
            or isinstance(child, ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom)
        ):
            continue
        if isinstance(child, ast.expr | ast.stmt):
            yield child
        yield from nodes(child)


def changes(node: ast.expr | ast.stmt) -> Iterator[str]:
    """The texts that may stand in the node's place."""
    yield from operators(node)
    match node:
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield str(value + 1)
        case ast.Call(func=ast.Name(id=name), args=args) if name in CALLS:
            yield ast.unparse(ast.Call(ast.Name(CALLS[name]), args, node.keywords if isinstance(node, ast.Call) else []))
        case ast.IfExp(body=body, orelse=orelse):
            yield f"({ast.unparse(body)})"
            yield f"({ast.unparse(orelse)})"
        case ast.Expr() | ast.Continue() | ast.Break():
            yield "pass"
        case ast.Assign(targets=[ast.Attribute()]) | ast.AugAssign():
            yield "pass"
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return None"


def operators(node: ast.expr | ast.stmt) -> Iterator[str]:
    """The node with another operator."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield f"({ast.unparse(left)} {COMPARISONS[type(op)]} {ast.unparse(right)})"
        case ast.BoolOp(op=op, values=values):
            yield "(" + (" or " if isinstance(op, ast.And) else " and ").join(f"({ast.unparse(v)})" for v in values) + ")"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"({ast.unparse(operand)})"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC and not isinstance(
            left, ast.Constant | ast.JoinedStr
        ):
            yield f"({ast.unparse(left)} {ARITHMETIC[type(op)]} {ast.unparse(right)})"


def conditions(module: str, text: str) -> Iterator[Mutant]:
    """Each condition of an `if` or of a comprehension, held true and held false."""
    tree = ast.parse(text)
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in nodes(tree):
        tests = [node.test] if isinstance(node, ast.If) else []
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp):
            tests = [test for generator in node.generators for test in generator.ifs]
        for test in tests:
            begin = starts[test.lineno - 1] + test.col_offset
            end = starts[(test.end_lineno or 0) - 1] + (test.end_col_offset or 0)
            for new in ("True", "False"):
                yield Mutant(module, test.lineno, begin, end, f"if {text[begin:end]}", new)


# --- running one


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives out the mutated text in the place of one module."""

    def __init__(self, name: str, text: str, path: str) -> None:
        self.name, self.text, self.path = name, text, path

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.text, self.path, "exec"), module.__dict__)


def survivors(found: list[Mutant], jobs: int) -> list[Mutant]:
    """Those with whose change the suite passes; so many at a time, each in a forked child."""
    waiting, running, alive = list(reversed(found)), dict[int, Mutant](), list[Mutant]()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[started(mutant)] = mutant
        child, status = os.wait()
        mutant = running.pop(child)
        if os.waitstatus_to_exitcode(status) == 0:
            alive.append(mutant)
    return sorted(alive, key=found.index)


def started(mutant: Mutant) -> int:
    """Fork a child that ends with 0 if the suite passes. Never from a thread: a child would inherit its locks."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        signal.alarm(TIME_LIMIT)
        status = 1
        try:
            status = 0 if passes(mutant) else 1
        finally:
            os._exit(status)
    return child


def passes(mutant: Mutant) -> bool:
    """Run the suite, in this process. Anything that keeps it from passing has noticed the change."""
    import pytest  # noqa: PLC0415 - imported before the fork

    path = ROOT / "supervisors" / f"{mutant.module}.py"
    text = path.read_text()
    text = text[: mutant.begin] + mutant.new + text[mutant.end :]
    sys.meta_path.insert(0, Mutated(f"forebay.supervisors.{mutant.module}", text, str(path)))
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore", f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")]
    if pytest.main([*options, *(str(ROOT / part) for part in SUITE)]) != 0:
        return False
    return machine_passes()


def machine_passes() -> bool:
    """Run the supervisor machine, unshrunk."""
    from hypothesis import HealthCheck, Phase  # noqa: PLC0415
    from property.test_supervisor_machine import run_machine  # noqa: PLC0415

    run_machine(
        Counter(), EXAMPLES, phases=[Phase.generate], database=None, derandomize=True, deadline=None,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    return True


def preload() -> None:
    """Import what no mutant changes, before the first fork."""
    sys.path.insert(0, str(ROOT / "tests"))
    for name in ("anyio", "hypothesis", "pytest_asyncio", "forebay.actors.process", "forebay.scenarios.loop"):
        importlib.import_module(name)
    loaded = [name for name in sys.modules if name.startswith("forebay.supervisors")]
    if loaded:
        raise SystemExit(f"these were to be imported by the mutants themselves: {', '.join(loaded)}")


def main() -> None:
    """Try every mutant; print those that live, and how many there were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("modules", nargs="*", default=MODULES)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    preload()
    if not survivors([Mutant(arguments.modules[0], 1, 0, 0, "", "")], 1):
        raise SystemExit("the suite fails without any change; see that it passes first")
    began = time.monotonic()
    for module in arguments.modules:
        text = (ROOT / "supervisors" / f"{module}.py").read_text()
        found = sorted(
            {*mutants(module, text), *conditions(module, text)}, key=lambda mutant: (mutant.begin, mutant.end, mutant.new)
        )
        report(module, found, survivors(found, arguments.jobs))
    print(f"{time.monotonic() - began:.0f} s")


def report(module: str, found: list[Mutant], lived: list[Mutant]) -> None:
    """Say what became of the mutants of one module."""
    print(f"{module}: {len(found)} mutants, {len(found) - len(lived)} killed, {len(lived)} survived", flush=True)
    for mutant in lived:
        print(f"  {mutant}", flush=True)


if __name__ == "__main__":
    main()
