"""docs/requirements.md as a table: rows, their tests, their states."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

STATES = ("done", "in part", "not yet")
IDS = tuple(
    f"{letter}{number}"
    for letter, count in (("G", 10), ("R", 15), ("Q", 17), ("A", 6), ("F", 7), ("O", 5))
    for number in range(1, count + 1)
)
TEST = re.compile(r"`([^`]+\.py)::([^`]+)`")


@frozen
class Row:
    """One promise: its id, what it says, the tests that show it (file, name), and how far it is
    kept.
    """

    id: str
    promise: str
    tests: tuple[tuple[str, str], ...]
    state: str


def rows_of(markdown: str) -> list[Row]:
    """The rows of every table whose first cell is an id."""
    return [
        Row(cells[0], cells[1], tuple(TEST.findall(cells[2])), cells[3])
        for line in markdown.splitlines()
        if re.match(r"\| [A-Z]\d+ \|", line) and len(cells := [cell.strip() for cell in line.strip("| ").split(" | ")]) == 4
    ]


def problems_of(rows: list[Row], tests: Path) -> Iterator[str]:
    """What is wrong with the table; `tests` is the folder that the tests' paths start from."""
    ids = [row.id for row in rows]
    yield from (f"{id_} has {ids.count(id_)} rows" for id_ in IDS if ids.count(id_) != 1)
    yield from (f"{id_} is not a requirement" for id_ in ids if id_ not in IDS)
    for row in rows:
        if row.state not in STATES:
            yield f"{row.id}: state {row.state!r} is none of {STATES}"
        if row.state != "not yet" and not row.tests:
            yield f"{row.id} is {row.state!r} and names no test"
        if row.state == "not yet" and row.tests:
            yield f"{row.id} names tests and is 'not yet'"
        for file, name in row.tests:
            if name not in _tests_in(tests / file):
                yield f"{row.id}: there is no test {file}::{name}"


def _tests_in(path: Path) -> set[str]:
    """Names of the tests in a file, as `test_x` or `TestClass::test_x`; a test case made by
    hypothesis by its name.
    """
    if not path.is_file():
        return set()
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            inner = (n.name for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}::{name}" for name in inner if name.startswith("test")}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            targets = (target.id for target in node.targets if isinstance(target, ast.Name))
            names |= {name for name in targets if name.startswith("Test")}
    return names
