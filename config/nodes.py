"""A configuration as read: a tree of values that know their key path, line and origin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from .problems import Problems, shorten

Environment = Mapping[str, str] | None
"""The variables that a configuration may name; None where none is looked at."""

MAX_DEPTH = 20
"""How deep mappings and lists may be nested; the schema needs five."""

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


@frozen
class Node:
    """One value. `value` is a scalar, a `list[Node]` or a `dict[str, Node]`.

    `variable` names the environment variables that the value came from; it is then never shown.
    `broken` marks a value that a problem was already reported for.
    """

    path: str
    line: int | None
    value: Any = field(repr=False)
    variable: str | None = None
    broken: bool = False

    @property
    def secret(self) -> bool:
        """True if the value, or any value in it, came from the environment."""
        return self.variable is not None or any(child.secret for child in self.children())

    def children(self) -> list[Node]:
        """The nodes directly inside this one."""
        if isinstance(self.value, dict):
            return list(self.value.values())
        return list(self.value) if isinstance(self.value, list) else []


def join(path: str, key: str) -> str:
    """The path of a key inside the mapping at `path`."""
    shown = shorten(key)
    return f"{path}.{shown}" if path else shown


def from_data(data: object, environ: Environment, problems: Problems, path: str = "", depth: int = 0) -> Node:
    """The tree of plain Python data (mappings, sequences, scalars), variables replaced."""
    if depth > MAX_DEPTH:
        return broken(problems, path, None, "something nested", f"use at most {MAX_DEPTH} levels")
    if isinstance(data, Mapping):
        members: dict[str, Node] = {}
        for key, value in data.items():
            if isinstance(key, str):
                inner = join(path, key)
                members[key] = from_data(value, environ, problems, inner, depth + 1)
            else:
                problems.add(path, None, "a key that is not a text", "write keys as texts")
        return Node(path, None, members)
    if isinstance(data, list | tuple):
        items = [from_data(item, environ, problems, f"{path}[{index}]", depth + 1) for index, item in enumerate(data)]
        return Node(path, None, items)
    return scalar(data, path, None, environ, problems)


def scalar(value: object, path: str, line: int | None, environ: Environment, problems: Problems) -> Node:
    """The node of a scalar, with `${NAME}` and `${NAME:-default}` replaced in texts."""
    if isinstance(value, str) and "${" in value:
        return _expand(value, path, line, environ, problems)
    if value is None or isinstance(value, str | int | float):
        return Node(path, line, value)
    what = f"a value of type {type(value).__name__}"
    return broken(problems, path, line, what, "write a text or a number")


def broken(problems: Problems, path: str, line: int | None, found: str, want: str) -> Node:
    """Report a problem; the node stands where the value would have been."""
    problems.add(path, line, found, want)
    return Node(path, line, None, broken=True)


def _expand(text: str, path: str, line: int | None, environ: Environment, problems: Problems) -> Node:
    known = environ or {}
    used: list[str] = []
    faults: list[tuple[str, str]] = []

    def replace(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if match[0] == "$${":
            return "${"
        if name is None:
            faults.append(("a ${ without a name", "write ${NAME}, ${NAME:-default} or $${"))
        elif known.get(name) or (default is None and name in known):
            used.append(name)
            return known[name]
        elif default is None and environ is None:
            faults.append((f"${{{name}}}", f"write ${{{name}:-default}}, or a value: no environment is looked at here"))
        elif default is None:
            want = f"set the environment variable {name}, or write ${{{name}:-default}}"
            faults.append((f"${{{name}}}, which is not set", want))
        return default or ""

    value = _REFERENCE.sub(replace, text)
    for found, want in faults:
        problems.add(path, line, found, want)
    return Node(path, line, value, ", ".join(used) or None, broken=bool(faults))
