"""`forebay check`: everything that is wrong with a configuration, before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from forebay.commands.ends import told
from forebay.commands.place import with_handlers

if TYPE_CHECKING:
    from forebay.config import Config


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
def check(config: Path) -> None:
    """Check a configuration and the handlers it names.

    Prints every problem with file, line and key, and ends with 2; or prints the configuration in force, defaults
    included and secrets masked, and the job types that have handlers.
    """
    with told():
        from forebay.supervisors.job_runtime import JobRuntime  # noqa: PLC0415 - help must not wait for it

        found = with_handlers(config)
        JobRuntime(found)  # its tree is planned here, and nothing is started
        click.echo(found.describe().rstrip())
        click.echo(f"# {config} is right; {_handlers(found)}")


def _handlers(config: Config) -> str:
    if config.workers is None:
        return "this process runs no jobs (workers: off)"
    if not config.workers.handlers:
        return "workers.handlers is empty, so no job type can run"
    from forebay.jobs.registry import default_registry  # noqa: PLC0415 - help must not wait for it

    return f"job types: {', '.join(sorted(default_registry.types())) or 'none; the handlers modules have no @job'}"
