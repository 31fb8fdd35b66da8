"""`forebay run`: a runtime in the foreground, until a signal ends it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from forebay.commands.ends import told
from forebay.commands.place import with_handlers


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--verbose", is_flag=True, help="Log first starts and orderly ends too.")
def run(config: Path, verbose: bool) -> None:
    """Run the runtime that CONFIG describes, in the foreground.

    SIGTERM or SIGINT stops it in order within `shutdown.deadline`; a second one at once. Handlers are imported from the
    working directory. What happens goes to standard error, one line per event.

    \b
    Exit codes:
      0  stopped in order
      1  could not start, or gave up
      2  the configuration or the arguments are wrong
      3  stopped, but some actors had to be cancelled
      4  stopped, but something ignored its cancellation
    """  # noqa: D301 - \b keeps the list as it is
    with told():
        from forebay.commands.serving import serve  # noqa: PLC0415 - help must not wait for it

        code = serve(with_handlers(config), verbose=verbose)
    sys.exit(code)
