"""`forebay limits`: what each topic may move, changed live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forebay.commands.ends import told
from forebay.commands.place import data_folder, of_running

if TYPE_CHECKING:
    from forebay.commands.control import Control


@click.group()
def limits() -> None:
    """Show or change how many jobs a topic's relay may move; it takes effect at once, in whichever process relays it."""


@limits.command("list")
@of_running
def list_limits(config: Path | None, data: Path | None) -> None:
    """Show the limit of each topic."""
    with told():
        found = _control(config, data).get("/limits")
    for topic, limit in found.items():
        click.echo(_line(topic, limit))


def _rate(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """The rate as it was written. Raises `click.BadParameter`."""
    from forebay.config.units import parse_rate  # noqa: PLC0415 - help must not wait for it

    try:
        parse_rate(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error
    return value


@limits.command("set")
@click.argument("topic")
@click.argument("rate", callback=_rate)
@of_running
def set_limit(topic: str, rate: str, config: Path | None, data: Path | None) -> None:
    """Let TOPIC move at most RATE, like 5000/s, 100/m or 20/h; ends a pause."""
    _change("set", topic, config, data, rate=rate)


@limits.command()
@click.argument("topic")
@of_running
def pause(topic: str, config: Path | None, data: Path | None) -> None:
    """Stop moving jobs of TOPIC into the queue. They go on being accepted; what is in the queue goes on being done."""
    _change("pause", topic, config, data)


@limits.command()
@click.argument("topic")
@of_running
def resume(topic: str, config: Path | None, data: Path | None) -> None:
    """End a pause: the rate of before holds again."""
    _change("resume", topic, config, data)


@limits.command()
@click.argument("topic")
@of_running
def clear(topic: str, config: Path | None, data: Path | None) -> None:
    """Forget what was set for TOPIC, a pause as well: the rate of the configuration holds again."""
    _change("clear", topic, config, data)


def _change(action: str, topic: str, config: Path | None, data: Path | None, **more: str) -> None:
    with told():
        body = json.dumps({"topic": topic, **more}).encode()
        limit = _control(config, data).post(f"/limits/{action}", body)
    click.echo(_line(topic, limit))


def _control(config: Path | None, data: Path | None) -> Control:
    from forebay.commands.control import Control  # noqa: PLC0415 - help must not wait for it

    return Control(data_folder(config, data))


def _line(topic: str, limit: Any) -> str:
    configured = limit["configured"]
    rate = f"{limit['rate']}, in place of {configured}" if limit["rate"] else f"{configured}, as configured"
    text = f"{topic}: {'paused; then ' if limit['paused'] else ''}{rate}"
    return f"{text}; what is set is no limit and is ignored: {limit['invalid']!r}" if "invalid" in limit else text
