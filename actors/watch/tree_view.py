"""The tree as text for people: state, incarnation, restarts, mailbox; siblings that are all alike in one line."""

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
    place, node = item
    found = _NUMBERED.match(node.name)
    plain = not node.children and node.state is State.RUNNING and node.incarnation == 1
    return (found["stem"], node.kind) if found and plain else place


def _label_of_many(nodes: Sequence[Node]) -> Text:
    first, last = (_NUMBERED.match(node.name) for node in (nodes[0], nodes[-1]))
    assert first is not None
    assert last is not None
    label = Text(f"{first['stem']}[{first['number']}..{last['number']}]  ")
    label.append(f"{len(nodes)} running", _COLOURS[State.RUNNING])
    if busy := sum(1 for node in nodes if node.tasks):
        label.append(f", {busy} busy", "cyan")
    return label


def _label(node: Node) -> Text:
    label = Text(node.name)
    if node.strategy is not None:
        label.append(f"  {node.strategy}", "dim")
    label.append(f"  {node.state.value}", _COLOURS[node.state])
    if node.incarnation > 1:
        label.append(f"  incarnation {node.incarnation}", "magenta")
    if node.next_restart is not None:
        label.append(f"  restart in {node.next_restart:.1f} s", "yellow")
    if node.mailbox is not None and node.mailbox.depth:
        label.append(f"  {node.mailbox.depth} waiting", "cyan")
    if node.last_exit is not None:
        label.append(f"  {_short(node.last_exit)}", "dim red")
    return label


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
