"""`forebay scenario`: failures as files, replayed on the simulation or on real servers."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from forebay.commands.ends import FAILED, CommandFailed, WrongUse, told

if TYPE_CHECKING:
    from forebay.scenarios.replay.folder import Kept
    from forebay.scenarios.replay.many import Tally
    from forebay.scenarios.replay.schema import Scenario
    from forebay.scenarios.replay.told import Told
    from forebay.scenarios.streams import Tape

FOLDER: Final = Path(".scenarios")
MOST: Final = 2**53
"""The last seed: JSON's readers know no larger number exactly."""

_on = click.option(
    "--on",
    type=click.Choice(["sim", "real"]),
    show_default="sim, or where a kept run was",
    help="The simulation; or real Kafka, Redis and Consul, started here for each run and removed after it.",
)
_seed = click.option("--seed", type=click.IntRange(0, MOST), help="Which run: 0, or that of a kept run, if not given.")


def _seeds(_context: click.Context, _option: click.Parameter, value: str | None) -> range | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,16})\.\.(\d{1,16})", value, re.ASCII)
    if match is None or not int(match[1]) <= int(match[2]) <= MOST:
        raise click.BadParameter(f"{value[:80]}: write a range like 1..100")
    return range(int(match[1]), int(match[2]) + 1)


@click.group()
def scenario() -> None:
    """Replay failures: a scenario is a YAML file with a topology, a workload, faults and what must hold.

    FILE is a path, or the name of a scenario in the library. On the simulation time is virtual: minutes take seconds, and
    the same seed gives the same run. On real servers it is real, and the seed decides what is posted and done, and when.
    """


@scenario.command("list")
def list_scenarios() -> None:
    """Show the library."""
    from forebay.scenarios.replay.library import scenarios  # noqa: PLC0415 - help must not wait for it

    with told():
        for name, one in scenarios().items():
            click.echo(f"{name:32} {' '.join(one.about.split())}")


@scenario.command("show")
@click.argument("file")
def show(file: str) -> None:
    """Show a scenario as it is read: what is left out has its default."""
    from forebay.scenarios.replay.writing import scenario_yaml  # noqa: PLC0415 - help must not wait for it

    click.echo(scenario_yaml(_read(file)[1]).rstrip())


@scenario.command("words")
def words() -> None:
    """Show everything that a scenario file can name, and where it works: on the simulation (sim), or on both."""
    from forebay.scenarios.real.verbs import REAL_VERBS  # noqa: PLC0415 - help must not wait for it
    from forebay.scenarios.replay.words import vocabulary  # noqa: PLC0415

    for line in vocabulary(REAL_VERBS):
        click.echo(line)


@scenario.command("schema")
def schema() -> None:
    """Print the JSON Schema of scenario files."""
    from forebay.scenarios.replay.json_schema import scenario_schema  # noqa: PLC0415 - help must not wait for it

    click.echo(json.dumps(scenario_schema(), indent=1))


@scenario.command("run")
@click.argument("file")
@_on
@_seed
@click.option("--seeds", callback=_seeds, metavar="A..B", help="Many runs, in place of --seed, up to the first that fails.")
@click.option(
    "--jobs", type=click.IntRange(min=1), help="In how many processes many seeds run; the number of CPUs if not given."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line: verdict, digest, counts, what was broken.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="Where a failure is kept.")
def run(
    file: str, on: str | None, seed: int | None, seeds: range | None, jobs: int | None, out: Path, *, as_json: bool
) -> None:
    """Run a scenario. Ends with 0 if everything held, with 1 if not; the failure is then kept in a folder.

    FILE may also be such a folder: a run on the simulation is run from its tape, and the digest must be the same; one on
    real servers is run there again. There, many seeds run one after the other.
    """
    if seed is not None and seeds is not None:
        raise WrongUse("--seed is for one run and --seeds for many: give one of them")
    if jobs is not None and (on == "real" or seeds is None):
        raise WrongUse("--jobs is for --seeds on the simulation; on real servers seeds run one after the other")
    path, one = _read(file)
    if (before := _kept_run(file, path)) is not None:
        if seed is not None or seeds is not None:
            raise WrongUse(f"{file} is a run that was kept, and has its seed; run {path} with others")
        if on not in (None, before.on):
            raise WrongUse(f"{file} is a run that was kept, with --on {before.on}; run {path} with --on {on}")
        if before.on == "sim":
            sys.exit(_replay(one, path.parent, before, as_json=as_json))
        on, seed = before.on, before.seed
    on = on or "sim"
    if seeds is not None and on == "sim":
        sys.exit(_run_many(one, seeds, jobs or os.cpu_count() or 1, out, as_json=as_json))
    for number in [seed or 0] if seeds is None else seeds:
        done = _run_on(on, path, one, number)
        click.echo(done.verdict.to_json() if as_json else str(done.verdict))
        if not done.verdict.passed:
            _keep(out / (f"{one.name}-{number}" if on == "sim" else f"{one.name}-{on}-{number}"), one, done)
            sys.exit(FAILED)


@scenario.command("shrink")
@click.argument("file")
@_seed
@click.option("--runs", type=click.IntRange(min=1), default=200, show_default=True, help="How many runs it may take.")
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="Where the result is kept.")
def shrink(file: str, seed: int | None, runs: int, out: Path) -> None:
    """Make a failing run as small as it goes, on the simulation: the few faults that matter, short and round."""
    from forebay.scenarios.replay.shrink import shrink as shrunk_from  # noqa: PLC0415 - help must not wait for it
    from forebay.scenarios.replay.shrink import sought  # noqa: PLC0415
    from forebay.scenarios.streams import Streams  # noqa: PLC0415

    path, one = _read(file)
    seed = _seed_of(_kept_run(file, path), seed)
    first = _run(one, seed).verdict
    if first.passed:
        search = f"forebay scenario run {path if path.parent == Path(file) else file} --seeds 1..1000"
        raise WrongUse(f"{one.name} passes with seed {seed}; find a seed that fails with `{search}`")
    wanted = sought(first.names)
    click.echo(f"looking for: {', '.join(sorted(wanted))}", err=True)

    def fails(candidate: Scenario, number: int) -> bool:
        again = bool(wanted & _run(candidate, number, until=wanted).verdict.names)
        click.echo("x" if again else ".", nl=False, err=True)
        return again

    left = shrunk_from(one, seed, Streams(seed).stream, fails, runs=runs)
    click.echo("", err=True)
    for step in left.steps:
        click.echo(f"  {step}", err=True)
    _keep(out / f"{one.name}-{left.seed}-shrunk", left.scenario, _run(left.scenario, left.seed))
    click.echo(f"{len(left.scenario.faults)} of {len(one.faults)} faults are left after {left.runs} runs")


@scenario.command("report")
@click.argument("file")
@_on
@_seed
@click.option("--out", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True, help="The page.")
def report(file: str, on: str | None, seed: int | None, out: Path) -> None:
    """Run a scenario and write its report: one HTML file that opens anywhere, also offline."""
    from forebay.scenarios.replay.folder import command_for  # noqa: PLC0415 - help must not wait for it
    from forebay.scenarios.replay.report import report_html  # noqa: PLC0415

    path, one = _read(file)
    before = _kept_run(file, path)
    on = on or ("sim" if before is None else before.on)
    seed = _seed_of(before, seed)
    try:
        can_be = out.parent.is_dir() and not out.is_dir()
    except OSError:  # too long a name, or a closed folder
        can_be = False
    if not can_be:
        raise WrongUse(f"the report cannot be written to {out}: name a file in a folder that is there, with --out")
    done = _run_on(on, path, one, seed)
    again = command_for(path if path.parent == Path(file) else file, seed, on)
    with _written("the report", "--out"):
        out.write_text(report_html(done.verdict, done.seen, one, again), encoding="utf-8")
    click.echo(f"{done.verdict}\n  report {out}")
    sys.exit(0 if done.verdict.passed else FAILED)


def _read(file: str) -> tuple[Path, Scenario]:
    from forebay.scenarios.replay.library import found  # noqa: PLC0415 - help must not wait for it
    from forebay.scenarios.replay.reading import load_scenario  # noqa: PLC0415

    with told():
        try:
            path = found(file)
        except LookupError as error:
            raise WrongUse(str(error.args[0])) from None
        return path, load_scenario(path)


def _seed_of(before: Kept | None, seed: int | None) -> int:
    """The seed that was given, or that of a kept run, or 0."""
    return (seed or 0) if before is None or seed is not None else before.seed


def _run_on(on: str, path: Path, one: Scenario, seed: int) -> Told:
    return _run(one, seed) if on == "sim" else _run_real(path, one, seed)


def _run_real(path: Path, one: Scenario, seed: int) -> Told:
    from forebay.commands.log_lines import hush_clients  # noqa: PLC0415 - help must not wait for it
    from forebay.scenarios.real.fits import check_fits  # noqa: PLC0415
    from forebay.scenarios.real.runner import run_real  # noqa: PLC0415
    from forebay.scenarios.servers import CannotGet, ServerFailed  # noqa: PLC0415

    hush_clients()
    with told():
        check_fits(one, path)
        try:
            return run_real(one, seed, lambda line: click.echo(line, err=True))
        except (CannotGet, ServerFailed) as error:
            raise CommandFailed(str(error)) from error


def _run(one: Scenario, seed: int, until: frozenset[str] = frozenset(), replay: Tape | None = None) -> Told:
    with _simulation():
        from forebay.scenarios.replay.runner import run_scenario  # noqa: PLC0415 - help must not wait for it
    return run_scenario(one, seed, replay, until=until)


@contextmanager
def _simulation() -> Iterator[None]:
    """While it is imported."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "lupa":
            raise
        raise WrongUse("the simulated Redis runs Lua, which is not here; pip install 'forebay[simulation]'") from None


def _run_many(one: Scenario, seeds: range, processes: int, out: Path, *, as_json: bool) -> int:
    """Run them up to the first that fails; say at the end how many count."""
    with _simulation():
        from forebay.scenarios.replay.many import Tally, folder_of, verdicts  # noqa: PLC0415 - help must not wait for it

    tally = Tally(len(one.hosts))
    every = verdicts(one, seeds, processes=min(processes, len(seeds)), keep=out)
    with closing(every):
        while True:
            with _written("the failure", "--out"), _alive(tally):
                verdict = next(every, None)
            if verdict is None:
                break
            tally.add(verdict)
            _progress("")
            click.echo(verdict.to_json() if as_json else str(verdict) if not verdict.passed else verdict.line())
            if not verdict.passed:
                click.echo(_where(folder_of(out, one, verdict.seed), verdict.seed), err=True)
                break
            _progress(f"{tally.runs} of {len(seeds)} seeds ")
    _progress("")
    click.echo(str(tally), err=True)
    return FAILED if tally.failed else 0


def _progress(text: str) -> None:
    """Show what is under way, on a terminal, in place of what was shown before."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", nl=False, err=True)


def _kept_run(file: str, path: Path) -> Kept | None:
    """What is known of a kept run, where `file` is the folder of one and not a scenario's own file, which is `path`."""
    from forebay.scenarios.replay.folder import NotKept, kept  # noqa: PLC0415 - help must not wait for it

    try:
        return kept(path.parent) if path.parent == Path(file) else None
    except NotKept as error:
        raise WrongUse(str(error)) from error


def _replay(one: Scenario, folder: Path, before: Kept, *, as_json: bool) -> int:
    from forebay.scenarios.streams import Misaligned, Tape, TapeError  # noqa: PLC0415 - help must not wait for it

    with told():
        try:
            verdict = _run(one, before.seed, replay=Tape.load(folder / "tape.jsonl")).verdict
        except Misaligned as error:
            raise CommandFailed(f"{folder}: {error}; scenario.yaml there runs without the tape") from error
        except (TapeError, OSError) as error:
            raise WrongUse(f"{error}; {folder / 'scenario.yaml'} runs without the tape") from error
    click.echo(verdict.to_json() if as_json else str(verdict))
    if verdict.digest != before.digest:
        was = str(before.digest)[:16]
        raise CommandFailed(f"{folder}: the run from the tape has another digest than was saved ({was}): the code differs")
    return 0 if verdict.passed else FAILED


def _keep(folder: Path, one: Scenario, done: Told) -> None:
    from forebay.scenarios.replay.folder import save  # noqa: PLC0415 - help must not wait for it

    with _written("the failure", "--out"):
        save(folder, one, done)
    click.echo(_where(folder, done.verdict.seed, on=done.verdict.on), err=True)


@contextmanager
def _written(what: str, option: str) -> Iterator[None]:
    """While a file is written."""
    try:
        yield
    except OSError as error:
        raise CommandFailed(f"{what} could not be written; give a place that can be, with {option}: {error}") from error


@contextmanager
def _alive(tally: Tally) -> Iterator[None]:
    """While processes run seeds."""
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415 - help must not wait for it

    try:
        yield
    except BrokenProcessPool as error:
        _progress("")
        click.echo(str(tally), err=True)
        raise CommandFailed("a process that ran seeds was killed, for want of memory perhaps; give fewer --jobs") from error


def _where(folder: Path, seed: int, on: str = "sim") -> str:
    from forebay.scenarios.replay.folder import command_for  # noqa: PLC0415 - help must not wait for it

    return f"kept in {folder}; again: {command_for(folder / 'scenario.yaml', seed, on)}"
