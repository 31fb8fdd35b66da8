"""The swarm: everything at once as each seed draws it, and what it finds when a safeguard is missing (F1, F2, F6, R14)."""

import os
from itertools import count

import pytest
from support.effort import LONG, examples
from support.safeguards import SAFEGUARDS

from forebay.scenarios.replay.library import scenarios
from forebay.scenarios.replay.many import Tally, verdicts
from forebay.scenarios.replay.runner import run_scenario

SWARM = scenarios()["swarm"]
COUNTING = examples(80, 10_000)
"""Seeds that count: two runtimes, 300 jobs, three faults that bit."""

FOUND_BY = {
    "write-and-mark-in-one-script": 5,
    "settled-marks": 3,
    "memory-coupling": 3,
    "dedup": 1,
    "backoff": 1,
    "lease-epoch": 7,
}
"""The first seed that finds it; the long run looks for one anew."""

ALWAYS = frozenset(f"always {name}" for name in SWARM.invariants.always)


@pytest.mark.slow
def test_the_swarm_holds_with_every_seed():
    tally = Tally(len(SWARM.hosts))
    with_all_cpus = verdicts(SWARM, count(1), processes=os.cpu_count() or 1)
    for verdict in with_all_cpus:
        tally.add(verdict)
        assert verdict.passed, str(verdict)
        if tally.counting == COUNTING:
            break
    with_all_cpus.close()


@pytest.mark.slow
@pytest.mark.parametrize("safeguard", [one for one in SAFEGUARDS if one.name in FOUND_BY], ids=lambda one: one.name)
def test_the_swarm_finds_a_safeguard_that_is_missing(safeguard):
    with safeguard.taken_away():
        for seed in range(1, 2001) if LONG else [FOUND_BY[safeguard.name]]:
            verdict = run_scenario(SWARM, seed, until=ALWAYS).verdict
            if not verdict.passed:
                break
    assert not verdict.passed
    assert run_scenario(SWARM, verdict.seed).verdict.passed
