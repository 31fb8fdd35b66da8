"""Many seeds of a scenario, side by side: the verdicts are those of runs one by one, in the order of the seeds (F1, F6)."""

from pathlib import Path

import pytest
from attrs import evolve

from forebay.scenarios.replay.many import Tally, folder_of, verdicts
from forebay.scenarios.replay.reading import scenario_from
from forebay.scenarios.replay.verdict import Verdict

TINY = {
    "format": "forebay-scenario/1",
    "name": "tiny",
    "about": "A holder dies.",
    "topology": {
        "log": {"url": "kafka://simulated:9092"},
        "coordination": {"url": "consul://simulated:8500"},
        "queues": {"main": {"url": "redis://simulated:6379"}},
        "topics": [{"name": "jobs", "partitions": 1}],
    },
    "hosts": ["a"],
    "workload": [{"count": 5, "over": 1}],
    "faults": [{"id": "skew", "do": "host.skew", "host": "a", "by": "-5..5", "at": "1s"}],
    "phases": {"chaos": 2, "converge": 30},
    "invariants": {"eventually": ["nothing-lost", "lag-zero"]},
}


def test_two_processes_tell_what_one_tells_in_the_order_of_the_seeds():
    tiny = scenario_from(TINY)
    alone = list(verdicts(tiny, range(3, 9)))
    assert [verdict.seed for verdict in alone] == [3, 4, 5, 6, 7, 8]
    assert list(verdicts(tiny, range(3, 9), processes=2)) == alone


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_fails_is_kept_by_the_process_that_ran_it(tmp_path, processes):
    failing = scenario_from(TINY | {"expect": {"counts": {"accepted": {"most": 1}}}})
    told = list(verdicts(failing, [1, 2], processes=processes, keep=tmp_path))
    assert [verdict.passed for verdict in told] == [False, False]
    assert all((folder_of(tmp_path, failing, seed) / "REPRODUCE.txt").is_file() for seed in (1, 2))


def test_what_raises_in_a_run_is_raised(tmp_path: Path):
    (tmp_path / "a file").touch()
    failing = scenario_from(TINY | {"expect": {"counts": {"accepted": {"most": 1}}}})
    with pytest.raises(OSError, match="a file"):
        list(verdicts(failing, range(20), processes=2, keep=tmp_path / "a file"))


def verdict(seed=1, **counts):
    counts = {"accepted": 290, "refused": 6, "unknown": 4, "faults": 3} | counts
    return Verdict("s", seed, True, (), counts, "", None, (), 1.0)


def test_a_seed_counts_with_two_runtimes_three_hundred_jobs_and_three_faults_that_bit():
    tally = Tally(hosts=2)
    for one in (verdict(), verdict(accepted=289), verdict(faults=2), verdict(accepted=0, faults=0)):
        tally.add(one)
    tally.add(evolve(verdict(seed=5), passed=False))
    assert (tally.runs, tally.counting, tally.failed) == (5, 2, [5])
    assert str(tally) == (
        "4 of 5 seeds passed. 2 count; of the others 2 had fewer than 3 faults that bit, 2 had fewer than 300 jobs."
    )
    alone = Tally(hosts=1)
    alone.add(verdict())
    assert alone.counting == 0
