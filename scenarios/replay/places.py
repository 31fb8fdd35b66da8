"""Where in a scenario file something stands, so that a problem can name its line."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from forebay.config.nodes import Node
from forebay.scenarios.replay.schema import Invariants


def at(node: Node, *keys: str | int) -> Node:
    """The node at a path, or the nearest one around it."""
    for key in keys:
        inner: Any = None
        if isinstance(key, int) and isinstance(node.value, list) and key < len(node.value):
            inner = node.value[key]
        elif isinstance(node.value, dict):
            inner = node.value.get(key)
        if inner is None:
            return node
        node = inner
    return node


def items(node: Node, key: str) -> list[Node]:
    """The items of a list of a mapping; none if it has no such list."""
    inner = at(node, key)
    return list(inner.value) if inner is not node and isinstance(inner.value, list) else []


def text_at(node: Node, key: str) -> Any:
    """The scalar of a mapping's key; None if it has none."""
    inner = node.value.get(key) if isinstance(node.value, dict) else None
    return None if inner is None else inner.value


def names_outside(
    named: Invariants, node: Node, checks: Collection[str], sightings: Collection[str]
) -> Iterator[tuple[Node, str, Collection[str]]]:
    """Yield each name of a scenario's invariants that may not stand there: its place, itself, and what may."""
    groups = [
        ("always", named.always, checks),
        ("eventually", named.eventually, checks),
        ("never", named.never, sightings),
        ("sometimes", named.sometimes, sightings),
    ]
    for group, names, known in groups:
        for index, name in enumerate(names):
            if name not in known:
                yield at(node, "invariants", group, index), name, known
