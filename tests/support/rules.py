"""Rules about single files: what they catch, how long they are, what they must not say."""

import ast
import re
from collections.abc import Iterator

from support.sources import Source

MAX_FILE = 400  # lines that are not blank
MAX_FUNCTION = 60  # lines from `def` to the end, docstring included
BROAD = {"Exception", "BaseException"}

# Put together so that this file does not break the rules that it states.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b")
LOCAL_PATH = re.compile(r"(?<![\w.}*)\]>])/(?:wo" + r"rk/|home/\w|Users/\w|root/\.)")


class _BroadCatches(ast.NodeVisitor):
    """Collects `except` clauses and `suppress` calls that catch everything, with the function they
    are in.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.scope: list[str] = []
        self.found: list[str] = []

    def _scoped(self, node: ast.AST) -> None:
        self.scope.append(node.name)  # type: ignore[attr-defined]
        self.generic_visit(node)
        self.scope.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _scoped  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is None or _names(node.type) & BROAD:
            self._note()
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if "suppress" in _names(node.func) and any(_names(a) & BROAD for a in node.args):
            self._note()
        self.generic_visit(node)

    def _note(self) -> None:
        self.found.append(f"{self.path}::{'.'.join(self.scope)}")


def _names(node: ast.expr) -> set[str]:
    """Plain names in an expression: `Exception`, `builtins.Exception`, `(OSError, Exception)`."""
    if isinstance(node, ast.Tuple):
        return set().union(*(_names(element) for element in node.elts))
    return {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")}


def broad_catches(source: Source) -> list[str]:
    """`file::function` of every place that catches everything."""
    visitor = _BroadCatches(source.path)
    visitor.visit(source.tree)
    return visitor.found


def too_long(source: Source) -> Iterator[str]:
    """The file and each function in it that is over the limit."""
    lines = sum(1 for line in source.text.splitlines() if line.strip())
    if lines > MAX_FILE:
        yield f"{source.path}: {lines} lines (at most {MAX_FILE}): one concept per file"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                where = f"{source.path}:{node.lineno}"
                yield f"{where}: {node.name} has {length} lines (at most {MAX_FUNCTION})"


def matches(pattern: re.Pattern[str], path: str, text: str) -> Iterator[str]:
    """Every line that the pattern is found in."""
    for number, line in enumerate(text.splitlines(), start=1):
        if pattern.search(line):
            yield f"{path}:{number}: {line.strip()[:120]}"
