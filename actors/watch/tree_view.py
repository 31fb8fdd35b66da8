"""The tree as text for people: states, incarnations (`#2`), waiting messages, what actors show, last failures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from rich.text import Text
from rich.tree import Tree

from forebay.actors.snapshot import Node, State

_NUMBERED: Final = re.compile(r"(?P<stem>.+)\[(?P<number>\d+)\]\Z")
_COLOURS: Final = {
    State.RUNNING: "green",
    State.STARTING: "yellow",
    State.STOPPING: "yellow",
    State.WAITING: "yellow",
    State.PARKED: "bold red",
    State.STOPPED: "red",
}


def tree_view(node: Node) -> Tree:
    """Return the tree for rich to draw."""
    view = Tree(_label(node), guide_style="dim")
    _add(view, node.children)
    return view


def _add(view: Tree, children: Sequence[Node]) -> None:
    for group in _groups(children):
        if len(group) > 1:
            view.add(_label_of_many(group))
        else:
            _add(view.add(_label(group[0])), group[0].children)


def _groups(children: Sequence[Node]) -> Iterator[Sequence[Node]]:
    """Yield runs of siblings that differ in their number only, and every other child by itself."""
    for _, run in groupby(enumerate(children), key=_kin):
        yield [child for _, child in run]


def _kin(item: tuple[int, Node]) -> object:
    """Equal for neighbours with consecutive numbers that have the same to say."""
    place, node = item
    found = _NUMBERED.match(node.name)
    if found is None or node.children or node.state is not State.RUNNING or _depth(node):
        return place
    return found["stem"], node.kind, node.incarnation, node.last_exit, node.shown, int(found["number"]) - place


def _label_of_many(nodes: Sequence[Node]) -> Text:
    first, last = (_NUMBERED.match(node.name) for node in (nodes[0], nodes[-1]))
    assert first is not None
    assert last is not None
    label = _begin(f"{first['stem']}[{first['number']}..{last['number']}]", nodes[0])
    if busy := sum(1 for node in nodes if node.tasks):
        label.append(f"  {busy} busy", "cyan")
    return _end(label, nodes[0])


def _label(node: Node) -> Text:
    label = _begin(node.name, node)
    if node.strategy is not None:
        label.append(f"  {node.strategy}", "dim")
    if node.next_restart is not None:
        label.append(f"  restart in {node.next_restart:.1f} s", "yellow")
    if depth := _depth(node):
        label.append(f"  {depth} waiting", "cyan")
    return _end(label, node)


def _begin(name: str, node: Node) -> Text:
    label = Text(name, no_wrap=True, overflow="ellipsis")
    label.append(f"  {node.state.value}", _COLOURS[node.state])
    if node.incarnation > 1:
        label.append(f" #{node.incarnation}", "magenta")
    return label


def _end(label: Text, node: Node) -> Text:
    if node.shown is not None:
        label.append(f"  {node.shown}", "cyan")
    if node.last_exit is not None:
        label.append(f"  last {node.last_exit}", "dim red")
    return label


def _depth(node: Node) -> int:
    return 0 if node.mailbox is None else node.mailbox.depth
