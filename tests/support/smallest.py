"""From a seed of the swarm that finds a missing safeguard, the smallest scenario that finds it.

`PYTHONPATH=tests python -m support.smallest fence 15` writes it into tests/scenario/found, with the seed in its name.
"""

import sys
from pathlib import Path

from attrs import evolve
from support.safeguards import SAFEGUARDS, Safeguard

from forebay.scenarios.replay.library import scenarios
from forebay.scenarios.replay.runner import run_scenario
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.replay.shrink import Shrunk, shrink, sought
from forebay.scenarios.replay.writing import scenario_yaml
from forebay.scenarios.streams import Streams

FOUND = Path(__file__).parents[1] / "scenario/found"


def smallest(scenario: Scenario, seed: int, safeguard: Safeguard) -> Shrunk:
    """Return what is left of the scenario if it is to break without the safeguard, and to hold with it."""

    def broken(candidate: Scenario, number: int, until: frozenset[str]) -> frozenset[str]:
        with safeguard.taken_away():
            return run_scenario(candidate, number, until=until).verdict.names

    at_once = frozenset(f"always {name}" for name in scenario.invariants.always)
    wanted = sought(broken(scenario, seed, at_once))

    def shows_it(candidate: Scenario, number: int) -> bool:
        return bool(wanted & broken(candidate, number, wanted)) and run_scenario(candidate, number).verdict.passed

    return shrink(scenario, seed, Streams(seed).stream, shows_it)


def main(name: str, seed: int) -> None:
    (safeguard,) = [one for one in SAFEGUARDS if one.name == name]
    left = smallest(scenarios()["swarm"], seed, safeguard)
    about = f"Breaks with the seed {left.seed} if the safeguard {name} is taken away, and holds with it."
    path = FOUND / f"{name}-{left.seed}.yaml"
    path.write_text(scenario_yaml(evolve(left.scenario, name=name, about=about)))
    print(f"{path}: {len(left.scenario.faults)} faults after {left.runs} runs")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
