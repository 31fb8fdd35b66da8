"""`forebay demo`: the whole path, with failures on the way, and the account at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from forebay.commands.ends import WrongUse, told


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="A configuration to run on, in place of the demo's own.")
@click.option("--data", type=click.Path(path_type=Path), help="A folder to keep; by default one that is removed at the end.")
@click.option("--jobs", "number", type=click.IntRange(min=10), default=400, show_default=True, help="How many to post.")
def demo(config: Path | None, data: Path | None, number: int) -> None:
    """Post a mixed workload to a runtime, crash parts of it on the way, and count what was lost.

    Ends with 0 if every job that was accepted has an end, with 1 if one was lost.
    """
    with told():
        from forebay.commands.log_lines import hush_clients  # noqa: PLC0415 - help must not wait for it
        from forebay.config import load  # noqa: PLC0415
        from forebay.scenarios.demo import NoGate, run_demo  # noqa: PLC0415

        hush_clients()
        try:
            status = run_demo(None if config is None else load(config, os.environ), data, number)
        except NoGate as error:
            raise WrongUse(str(error)) from None
    sys.exit(status)
