"""`forebay tree`: the tree of a running runtime."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from forebay.commands.ends import told
from forebay.commands.place import data_folder, of_running

if TYPE_CHECKING:
    from forebay.commands.control import Control

INTERVAL: Final = 0.5
"""Seconds between two looks of `--watch`."""


@click.command()
@click.option("--watch", is_flag=True, help="Go on showing it until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs; with --watch one document a line.")
@of_running
def tree(watch: bool, as_json: bool, config: Path | None, data: Path | None) -> None:
    """Show the tree of a running runtime: states, incarnations, waiting messages, last failures."""
    with told():
        from forebay.commands.control import Control  # noqa: PLC0415 - help must not wait for it

        control = Control(data_folder(config, data))
        try:
            if as_json:
                _print_json(control, watch)
            else:
                _draw(control, watch)
        except KeyboardInterrupt:
            sys.exit(0)


def _print_json(control: Control, watch: bool) -> None:
    click.echo(json.dumps(control.get("/tree")))
    while watch:
        time.sleep(INTERVAL)
        click.echo(json.dumps(control.get("/tree")))


def _draw(control: Control, watch: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - help must not wait for it
    from rich.live import Live  # noqa: PLC0415

    from forebay.actors.snapshot import from_plain  # noqa: PLC0415
    from forebay.actors.watch.tree_view import tree_view  # noqa: PLC0415

    console = Console(highlight=False)
    if not watch:
        console.print(tree_view(from_plain(control.get("/tree"))))
        return
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            live.update(tree_view(from_plain(control.get("/tree"))), refresh=True)
            time.sleep(INTERVAL)
