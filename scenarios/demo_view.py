"""The demo's picture: the live tree beside the flow on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from forebay.actors.snapshot import Node
from forebay.actors.watch.tree_view import tree_view
from forebay.scenarios.demo_flow import Flow
from forebay.scenarios.ledger import Ledger

NEWS_SHOWN: Final = 14
PLAIN_EVERY: Final = 1.0
"""Seconds between two plain lines of the flow."""

_COLOURS: Final = {
    "posted": "white",
    "in log": "blue",
    "delayed": "blue",
    "queued": "cyan",
    "running": "yellow",
    "retrying": "magenta",
    "done": "green",
    "dead": "red",
}


class View(Protocol):
    """Shows the demo while it runs."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last picture standing."""

    def show(self, at: float, tree: Node, flow: Flow, news: Sequence[Text]) -> None:
        """Show how things are `at` seconds from the start; `news` is what happened since the last call."""


def view_for(console: Console, expected: int) -> View:
    """Return the view that suits the console; `expected` is how many jobs there will be."""
    return Picture(console, expected) if console.is_terminal else Lines(console)


class Picture:
    """A live picture."""

    def __init__(self, console: Console, expected: int) -> None:
        self._expected = expected
        self._news: deque[Text] = deque(maxlen=NEWS_SHOWN)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, at: float, tree: Node, flow: Flow, news: Sequence[Text]) -> None:
        """Draw it anew."""
        self._news.extend(news)
        page = Table.grid(expand=True)
        page.add_column(ratio=11)
        page.add_column(ratio=10)
        page.add_row(
            Panel(tree_view(tree), title="the tree", border_style="dim"),
            Group(
                Panel(self._bars(flow), title=f"the flow, {at:4.1f} s", border_style="dim"),
                Panel(self._news_panel(), title="what happened", border_style="dim"),
            ),
        )
        self._live.update(page, refresh=True)

    def _bars(self, flow: Flow) -> RenderableType:
        bars = Table.grid(padding=(0, 1), expand=True)
        bars.add_column(justify="right")
        bars.add_column(justify="right")
        bars.add_column(ratio=1)
        for name, number in flow.stages():
            colour = _COLOURS[name]
            bar = ProgressBar(max(self._expected, 1), number, complete_style=colour, finished_style=colour)
            bars.add_row(Text(name, colour), str(number), bar)
        bars.add_row(Text("retried", "dim"), Text(str(flow.retried), "dim"), Text("jobs started more than once", "dim"))
        return bars

    def _news_panel(self) -> Text:
        lines = [*self._news, *[Text("")] * (NEWS_SHOWN - len(self._news))]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


class Lines:
    """A line of the flow each second, and one for everything that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return

    def show(self, at: float, tree: Node, flow: Flow, news: Sequence[Text]) -> None:
        """Print what is new."""
        del tree
        for item in news:
            self._say(f"{at:5.1f} s  {item.plain}")
        if at >= self._next:
            self._next = at + PLAIN_EVERY
            self._say(f"{at:5.1f} s  {flow.line()}  retried {flow.retried}")

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def print_ledger(console: Console, ledger: Ledger) -> None:
    """Print the account."""
    verdict = "nothing was lost" if not ledger.lost else f"{len(ledger.lost)} LOST"
    console.print(Rule(verdict, style="bold green" if not ledger.lost else "bold red"))
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for name, number, meaning in ledger.rows():
        colour = "bold red" if name == "lost" and number else "green" if name in {"lost", "finished"} else ""
        table.add_row(name, Text(str(number), colour), meaning)
    console.print(table)
    for id_ in sorted(ledger.lost):
        console.print(Text(f"lost: {id_}", "red"))
