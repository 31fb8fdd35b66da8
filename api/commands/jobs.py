"""`forebay jobs`: look at the jobs of a running runtime, and act on those that are dead or parked."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import click

from forebay.commands.ends import CommandFailed, WrongUse, told
from forebay.commands.place import data_folder, of_running

if TYPE_CHECKING:
    from forebay.commands.control import Control

STATES: Final = ("pending", "delayed", "retrying", "in_flight", "dead", "parked")
PAGE: Final = 1000
"""Jobs that one request shows or acts on at most."""

_topic = click.option("--topic", help="The topic; may be left out where the runtime has one.")


def _selection(command: Callable[..., None]) -> Callable[..., None]:
    """What chooses jobs in bulk."""
    options = (
        click.option(
            "--all", "state", type=click.Choice(["dead", "parked"]), is_flag=False, flag_value="dead", default=None,
            help="All dead jobs of the topic, or `parked`: all parked ones.",
        ),
        click.option("--type", "type_", help="Of those, the ones of this type."),
        click.option("--error", help="Of those, the ones with this text in their error."),
        click.option("--yes", is_flag=True, help="Act on those chosen by --type or --error; else they are only counted."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


class Choice(NamedTuple):
    """Which jobs a command is for: those named, or all in a state that match."""

    ids: Sequence[str]
    state: str | None
    type: str | None
    error: str | None
    yes: bool

    @property
    def filtered(self) -> bool:
        """Whether there is more to it than the state."""
        return self.type is not None or self.error is not None

    def matches(self, job: Any) -> bool:
        """Whether a job in the state is meant."""
        return self.type in (None, job["type"]) and (self.error or "") in (job["error"] or "")


@click.group()
def jobs() -> None:
    """Look at jobs; resubmit or discard those that are dead or parked, repair those that are parked."""


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
@click.option("--limit", type=click.IntRange(min=1, max=PAGE), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, with arguments and place in the log.")
@_topic
@of_running
def ends(limit: int, as_json: bool, topic: str | None, config: Path | None, data: Path | None) -> None:
    """List the newest dead and parked ones as the log has them, the newest first.

    They are there for the topic's retention, whatever became of them: run again, discarded, or lost by a queue that forgot.
    """
    with told():
        control = _control(config, data)
        found = control.get("/jobs/ends", topic=_topic_of(control, topic), limit=limit)["ends"]
    for end in found:
        click.echo(json.dumps(end) if as_json else f"{end['kind']}  {_line(end)}")


@jobs.command()
@click.argument("ids", nargs=-1)
@_selection
@_topic
@of_running
def resubmit(topic: str | None, config: Path | None, data: Path | None, **choice: Any) -> None:
    """Run dead jobs again with a fresh count of attempts; put parked ones into the log again as they are.

    A parked record's bytes and id stay. What would only be parked again stays where it is, with the reason: `forebay jobs
    repair` is for those.
    """
    _act("resubmit", "resubmitted", _choice(**choice), topic, config, data)


@jobs.command()
@click.argument("ids", nargs=-1)
@_selection
@_topic
@of_running
def discard(topic: str | None, config: Path | None, data: Path | None, **choice: Any) -> None:
    """Remove dead or parked jobs for good."""
    _act("discard", "discarded", _choice(**choice), topic, config, data)


@jobs.command()
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
@_topic
@of_running
def show(id_: str, as_json: bool, topic: str | None, config: Path | None, data: Path | None) -> None:
    """Show one job, in whatever state, with its arguments, headers and error."""
    with told():
        control = _control(config, data)
        job = control.get("/jobs/show", topic=_topic_of(control, topic), id=id_)
    click.echo(json.dumps(job) if as_json else _sheet(job))


@jobs.command()
@click.argument("id_", metavar="ID")
@click.option("--type", "type_", help="The type that it is to have.")
@click.option(
    "--args", "source", type=click.File("rb"), help="A file with the arguments that it is to have; `-`: standard input."
)
@click.option("--edit", is_flag=True, help="Change its arguments in $EDITOR.")
@_topic
@of_running
def repair(
    id_: str,
    type_: str | None,
    source: BinaryIO | None,
    edit: bool,
    topic: str | None,
    config: Path | None,
    data: Path | None,
) -> None:
    """Put a parked record into the log again, with another type or other arguments.

    ID is its place in the log, as `forebay jobs list --state parked` shows it. It stays the same job: its id is kept, and
    what is not given stays as it is. The arguments reach the handler byte for byte.
    """
    with told():
        if edit and source is not None:
            raise WrongUse("give the arguments with --args or change them with --edit; not both")
        control = _control(config, data)
        name = _topic_of(control, topic)
        args = source.read() if source is not None else b""
        if edit:
            args = _edited(control.get("/jobs/show", topic=name, id=id_))
        given = {} if type_ is None else {"type": type_}
        place = control.post("/jobs/repair", args, topic=name, id=id_, **given)
    click.echo(f"{id_} is at {place['topic']}/{place['partition']}/{place['offset']} now")


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


def _choice(ids: Sequence[str], state: str | None, type_: str | None, error: str | None, yes: bool) -> Choice:
    choice = Choice(ids, state, type_, error, yes)
    bulk = state is not None or choice.filtered
    if bool(ids) is bulk:
        raise WrongUse("name the jobs by their ids, or all of them with --all, --type or --error; not both")
    return choice


def _chosen(control: Control, topic: str, choice: Choice) -> list[str]:
    if choice.ids:
        return list(choice.ids)
    return [job["id"] for job in _pages(control, topic, choice.state or "dead", 10**9) if choice.matches(job)]


def _act(what: str, done: str, choice: Choice, topic: str | None, config: Path | None, data: Path | None) -> None:
    with told():
        control = _control(config, data)
        name = _topic_of(control, topic)
        ids = _chosen(control, name, choice)
        if choice.filtered and not choice.yes:
            click.echo(f"{len(ids)} match; nothing was done, --yes will {what} them")
            return
        count = 0
        for start in range(0, len(ids), PAGE):
            body = json.dumps({"topic": name, "ids": ids[start : start + PAGE]}).encode()
            answer = control.post(f"/jobs/{what}", body)
            count += answer["count"]
            for id_, why in answer.get("refused", {}).items():
                click.echo(f"{id_} stays parked: {why}", err=True)
    click.echo(f"{count} {done}")


def _edited(job: Any) -> bytes:
    """The arguments as the person leaves them. Raises `CommandFailed` if they were not saved."""
    content = job["args"].encode() if "args" in job else base64.b64decode(job["args_base64"])
    changed = click.edit(content, extension=".json", require_save=True)
    if changed is None:
        raise CommandFailed("nothing was saved, so nothing was done")
    return bytes(changed)


def _sheet(job: Any) -> str:
    names = ("id", "topic", "type", "state", "attempt", "enqueued_at", "due")
    lines = [f"{name}: {job[name]}" for name in names if job[name] not in (None, "")]
    lines += [f"header {name}: {value}" for name, value in job["headers"]]
    lines += [f"error: {job['error']}"] if job["error"] else []
    content = job["args"] if "args" in job else f"(base64) {job['args_base64']}"
    return "\n".join([*lines, f"args: {content}"])


def _line(job: Any) -> str:
    error = (job["error"] or "").strip().splitlines()
    return f"{job['id']}  {job['type']}  attempt {job['attempt']}" + (f"  {error[0]}" if error else "")
