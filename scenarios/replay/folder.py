"""What a failed run leaves: one folder with all that is needed to see it again, on this machine or another.

| file            | what                                                              |
|-----------------|-------------------------------------------------------------------|
| `scenario.yaml` | the scenario as it was run, topology included                      |
| `verdict.json`  | what did not hold, the figures, the digest (null on real servers) |
| `tape.jsonl`    | every draw; a run from it must have the same digest               |
| `trace.jsonl`   | every event of every host                                         |
| `tree.json`     | the hosts' trees at the end; null for one that was down           |
| `report.html`   | the same for people                                               |
| `REPRODUCE.txt` | the one command that does it again                                |
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from attrs import frozen

from forebay.actors.snapshot import to_plain
from forebay.scenarios.replay.report import report_html
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.replay.told import Told
from forebay.scenarios.replay.verdict import REAL, SIM
from forebay.scenarios.replay.writing import scenario_yaml


def command_for(file: Path | str, seed: int, on: str = SIM) -> str:
    """The one line that runs a scenario again: a file, or one of the library by its name."""
    where = "" if on == SIM else f" --on {on}"
    return f"forebay scenario run {shlex.quote(str(file))}{where} --seed {seed}"


def save(folder: Path, scenario: Scenario, told: Told) -> None:
    """Write the folder, over what an earlier run of that name and seed left there. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = scenario_yaml(scenario)
    file = folder / "scenario.yaml"
    reproduce = command_for(file, told.verdict.seed, told.verdict.on)
    file.write_text(text, encoding="utf-8")
    (folder / "verdict.json").write_text(told.verdict.to_json() + "\n", encoding="utf-8")
    (folder / "REPRODUCE.txt").write_text(reproduce + "\n", encoding="utf-8")
    trees = {host: None if tree is None else to_plain(tree) for host, tree in told.trees.items()}
    (folder / "tree.json").write_text(json.dumps(trees, indent=1, default=str) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(report_html(told.verdict, told.seen, scenario, reproduce), encoding="utf-8")
    told.tape.dump(folder / "tape.jsonl")
    if told.trace is not None:
        told.trace.dump(folder / "trace.jsonl", {"scenario": scenario.name, "seed": told.verdict.seed})


class NotKept(ValueError):
    """A folder is not what a run leaves."""


@frozen
class Kept:
    """What is known of a saved run: what it was on, its seed, its digest (None on real servers)."""

    on: str
    seed: int
    digest: str | None


def kept(folder: Path) -> Kept:
    """Read a saved run's verdict. Raises `NotKept`."""
    file = folder / "verdict.json"
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotKept(f"{file} cannot be read ({type(error).__name__}); run {folder / 'scenario.yaml'} itself") from error
    match saved:
        case {"on": "sim", "seed": int(seed), "digest": str(digest)} if seed >= 0:
            return Kept(SIM, seed, digest)
        case {"on": "real", "seed": int(seed)} if seed >= 0:
            return Kept(REAL, seed, None)
    raise NotKept(f"{file} is not what a run leaves; run {folder / 'scenario.yaml'} itself")
