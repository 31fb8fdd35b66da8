"""The command line. Each command is in `forebay.commands`; what it needs is imported when it runs, so that help is quick."""

from __future__ import annotations

import click

from forebay.commands.check import check
from forebay.commands.demo import demo
from forebay.commands.enqueue import enqueue
from forebay.commands.jobs import jobs
from forebay.commands.limits import limits
from forebay.commands.run import run
from forebay.commands.scenario import scenario
from forebay.commands.services import services
from forebay.commands.tree import tree


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="forebay", message="forebay %(version)s")
def main() -> None:
    """The job queue that cannot lock up.

    `forebay demo` shows it at work. `forebay run CONFIG` starts a runtime; the other commands talk to the one that
    runs in the same data folder.
    """


for command in (run, check, enqueue, tree, jobs, limits, demo, services, scenario):
    main.add_command(command)
