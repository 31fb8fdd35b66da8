"""The swarm: everything at once as each seed draws it, and what it finds when a safeguard is missing (F1, F2, F6, R14)."""

import os
from contextlib import closing
from itertools import count, islice
from pathlib import Path

import pytest
from support.effort import LONG, examples
from support.safeguards import SAFEGUARDS
from support.smallest import FOUND

from forebay.scenarios.replay.library import scenarios
from forebay.scenarios.replay.many import Tally, verdicts
from forebay.scenarios.replay.reading import load_scenario
from forebay.scenarios.replay.runner import run_scenario

SWARM = scenarios()["swarm"]
BLOCKS = examples(1, 20)
COUNTING = examples(300, 500)
"""Seeds of a block that count: two runtimes, 300 jobs, three faults that bit."""
ROOM = COUNTING * 11 // 10
"""Seeds of a block: a few may not count."""

FOUND_BY = {
    "backoff": 1,
    "dedup": 1,
    "drain": 5,
    "fence": 15,
    "lease-epoch": 6,
    "memory-coupling": 6,
    "re-enqueue-before-the-mark": 19,
    "settled-marks": 3,
    "write-and-mark-in-one-script": 5,
}
"""The first seed that finds it; with everything in place it holds, as all of the first block do. The long run looks anew."""

ALWAYS = frozenset(f"always {name}" for name in SWARM.invariants.always)

each_safeguard = pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda one: one.name)


def shows_damage(verdict):
    """Not a run that broke off, but for one that calls again and again without a pause: time stands still for it."""
    return any(one.group != "run" or one.name == "Livelock" for one in verdict.broken)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_swarm_holds_with_every_seed(block, record_figure):
    first, failed = 1 + ROOM * block, []
    tally = Tally(len(SWARM.hosts))
    seeds = islice(count(first), ROOM)
    with closing(verdicts(SWARM, seeds, processes=os.cpu_count() or 1, keep=Path(".scenarios"))) as told:
        for verdict in told:
            tally.add(verdict)
            if not verdict.passed:
                failed.append(str(verdict))
            if tally.counting == COUNTING:
                break
    record_figure(f"swarm, seeds {first} to {first + tally.runs - 1}", tally.runs - len(failed), "passed")
    assert not failed, "\n".join(failed)
    assert tally.counting == COUNTING, str(tally)


@pytest.mark.slow
@each_safeguard
def test_the_swarm_finds_a_safeguard_that_is_missing(safeguard):
    with safeguard.taken_away():
        for seed in range(1, 2001) if LONG else [FOUND_BY[safeguard.name]]:
            verdict = run_scenario(SWARM, seed, until=ALWAYS).verdict
            if not verdict.passed:
                break
    assert shows_damage(verdict), verdict


@pytest.mark.slow
@each_safeguard
def test_three_faults_at_most_are_left_of_what_finds_it(safeguard):
    (path,) = FOUND.glob(f"{safeguard.name}-*.yaml")
    left, seed = load_scenario(path), int(path.stem.rpartition("-")[2])
    assert len(left.faults) <= 3
    with safeguard.taken_away():
        assert shows_damage(run_scenario(left, seed, until=ALWAYS).verdict)
    assert run_scenario(left, seed).verdict.passed
