"""What happens in the tree, in the words of the demo; and which incarnations rose in the end."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from rich.text import Text

from forebay.actors.events import Event, Exited, Incident, Noted, Parked, Started
from forebay.actors.exits import Failed
from forebay.actors.snapshot import Node

_NUMBERED: Final = re.compile(r"(.+)\[(\d+)\]\Z")


def news_of(events: Iterable[Event]) -> list[Text]:
    """Return a line for each event that tells something to a spectator."""
    return [line for event in events if (line := _line(event)) is not None]


def _line(event: Event) -> Text | None:
    name = event.path.rsplit("/", 1)[-1]
    if isinstance(event, Exited) and isinstance(event.exit, Failed):
        return Text(f"{name} ends: {type(event.exit.error).__name__}: {event.exit.error}", "red")
    if isinstance(event, Incident) and len(event.restarting) > 1:
        return Text(f"{name}: {event.child} takes {len(event.restarting) - 1} others with it", "yellow")
    if isinstance(event, Started) and event.incarnation > 1:
        return Text(f"{name} runs again, incarnation {event.incarnation}", "green")
    if isinstance(event, Noted) and event.name == "term_begins":
        return Text(f"{name}: a new term begins", "green")
    return Text(f"{name} is parked", "bold red") if isinstance(event, Parked) else None


def risen(tree: Node) -> str:
    """Return which actors live for the second time or later, grouped by how often."""
    by_incarnation: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for node in tree.walk():
        if node.incarnation > 1 and node.kind != "supervisor":
            found = _NUMBERED.match(node.name)
            stem, number = found.groups() if found else (node.name, "")
            by_incarnation[node.incarnation][stem].append(number)
    return "; ".join(
        f"incarnation {incarnation}: " + ", ".join(_numbered(stem, numbers) for stem, numbers in stems.items())
        for incarnation, stems in sorted(by_incarnation.items())
    )


def _numbered(stem: str, numbers: list[str]) -> str:
    return f"{stem}[{','.join(numbers)}]" if numbers != [""] else stem
