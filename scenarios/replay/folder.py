"""What a failed run leaves: one folder with all that is needed to see it again, on this machine or another.

| file            | what                                                              |
|-----------------|-------------------------------------------------------------------|
| `scenario.yaml` | the scenario as it was run, topology included                      |
| `verdict.json`  | what did not hold, the figures, the digest                        |
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

from forebay.actors.snapshot import to_plain
from forebay.scenarios.replay.reading import load_scenario
from forebay.scenarios.replay.report import report_html
from forebay.scenarios.replay.runner import Told, run_scenario
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.replay.verdict import Verdict
from forebay.scenarios.replay.writing import scenario_yaml
from forebay.scenarios.streams import Tape


def command_for(file: Path, seed: int) -> str:
    """The one line that runs a scenario file again."""
    return f"forebay scenario run {shlex.quote(str(file))} --seed {seed}"


def save(folder: Path, scenario: Scenario, told: Told) -> None:
    """Write the folder, over an older one. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = scenario_yaml(scenario)
    file = folder / "scenario.yaml"
    reproduce = command_for(file, told.verdict.seed)
    file.write_text(text, encoding="utf-8")
    (folder / "verdict.json").write_text(told.verdict.to_json() + "\n", encoding="utf-8")
    (folder / "REPRODUCE.txt").write_text(reproduce + "\n", encoding="utf-8")
    trees = {host: None if tree is None else to_plain(tree) for host, tree in told.trees.items()}
    (folder / "tree.json").write_text(json.dumps(trees, indent=1, default=str) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(report_html(told.verdict, told.seen, text, reproduce), encoding="utf-8")
    told.tape.dump(folder / "tape.jsonl")
    if told.trace is not None:
        told.trace.dump(folder / "trace.jsonl", {"scenario": scenario.name, "seed": told.verdict.seed})


def replayed(folder: Path) -> tuple[Verdict, str]:
    """Run a saved scenario from its tape; return the verdict, and the digest that was saved.

    Raises `ConfigError`, `TapeError`, and `Misaligned` if the code has changed what it draws since.
    """
    saved = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    scenario = load_scenario(folder / "scenario.yaml")
    told = run_scenario(scenario, int(saved["seed"]), Tape.load(folder / "tape.jsonl"))
    return told.verdict, str(saved["digest"])
