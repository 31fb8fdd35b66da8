"""`forebay jobs`: look at the jobs of a running runtime, and act on those that are dead."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from forebay.commands.ends import WrongUse, told
from forebay.commands.place import data_folder, of_running

if TYPE_CHECKING:
    from forebay.commands.control import Control

STATES: Final = ("pending", "delayed", "retrying", "in_flight", "dead", "parked")
PAGE: Final = 1000
"""Jobs that one request shows or acts on at most."""

_topic = click.option("--topic", help="The topic; may be left out where the runtime has one.")


@click.group()
def jobs() -> None:
    """Look at jobs; resubmit or discard those that are dead."""


@jobs.command("count")
@of_running
def count_jobs(config: Path | None, data: Path | None) -> None:
    """Show how many jobs of each topic are in which state."""
    with told():
        counts = _control(config, data).get("/counts")
    for topic, states in counts.items():
        click.echo(f"{topic}: " + ", ".join(f"{name} {value}" for name, value in states.items()))


@jobs.command("list")
@click.option("--state", type=click.Choice(STATES), default="dead", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, with arguments and error.")
@_topic
@of_running
def list_jobs(state: str, limit: int, as_json: bool, topic: str | None, config: Path | None, data: Path | None) -> None:
    """List jobs in one state, by id."""
    with told():
        control = _control(config, data)
        for job in _pages(control, _topic_of(control, topic), state, limit):
            click.echo(json.dumps(job) if as_json else _line(job))


@jobs.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead jobs of the topic.")
@_topic
@of_running
def resubmit(ids: Sequence[str], everything: bool, topic: str | None, config: Path | None, data: Path | None) -> None:
    """Run dead jobs again, with a fresh count of attempts."""
    with told():
        control = _control(config, data)
        name = _topic_of(control, topic)
        count = _act(control, "/jobs/resubmit", name, _chosen(control, name, ids, "dead", everything))
    click.echo(f"{count} resubmitted")


@jobs.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", type=click.Choice(["dead", "parked"]), help="All jobs of the topic in this state.")
@_topic
@of_running
def discard(ids: Sequence[str], everything: str | None, topic: str | None, config: Path | None, data: Path | None) -> None:
    """Remove dead or parked jobs for good."""
    with told():
        control = _control(config, data)
        name = _topic_of(control, topic)
        count = _act(control, "/jobs/discard", name, _chosen(control, name, ids, everything or "dead", bool(everything)))
    click.echo(f"{count} discarded")


def _control(config: Path | None, data: Path | None) -> Control:
    from forebay.commands.control import Control  # noqa: PLC0415 - help must not wait for it

    return Control(data_folder(config, data))


def _topic_of(control: Control, given: str | None) -> str:
    if given is not None:
        return given
    topics = list(control.get("/counts"))
    if len(topics) > 1:
        raise WrongUse(f"the runtime has the topics {', '.join(topics)}; choose one with --topic")
    return str(topics[0])


def _pages(control: Control, topic: str, state: str, limit: int) -> Iterator[Any]:
    after = ""
    while limit > 0:
        page = control.get("/jobs", topic=topic, state=state, limit=min(limit, PAGE), after=after)["jobs"]
        yield from page
        if not page:
            return
        limit, after = limit - len(page), page[-1]["id"]


def _chosen(control: Control, topic: str, ids: Sequence[str], state: str, everything: bool) -> list[str]:
    if bool(ids) is everything:
        raise WrongUse("name the jobs by their ids, or all of them with --all; not both")
    return list(ids) or [job["id"] for job in _pages(control, topic, state, 10**9)]


def _act(control: Control, path: str, topic: str, ids: Sequence[str]) -> int:
    pages = (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))
    return sum(control.post(path, json.dumps({"topic": topic, "ids": page}).encode())["count"] for page in pages)


def _line(job: Any) -> str:
    error = (job["error"] or "").strip().splitlines()
    return f"{job['id']}  {job['type']}  attempt {job['attempt']}" + (f"  {error[0]}" if error else "")
