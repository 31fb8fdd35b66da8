"""Scenarios on the simulation: the library holds, a run can be told again, a failure is kept (F1, F3, F4, F6)."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve
from support.sources import ROOT

from forebay.scenarios.replay.folder import Kept, kept, save
from forebay.scenarios.replay.library import KEPT, library, scenarios
from forebay.scenarios.replay.reading import load_scenario, read_scenario, scenario_from
from forebay.scenarios.replay.runner import run_scenario
from forebay.scenarios.streams import Misaligned, Tape

TOPOLOGY = {
    "log": {"url": "kafka://simulated:9092"},
    "coordination": {"url": "consul://simulated:8500"},
    "queues": {"main": {"url": "redis://simulated:6379"}},
    "topics": [{"name": "jobs", "partitions": 3}],
    "workers": {"slots": 10, "lease": "10s"},
    "lock": {"ttl": "10s", "lock_delay": "2s"},
}
SMALL = {
    "format": "forebay-scenario/1",
    "name": "small",
    "about": "A holder dies.",
    "topology": TOPOLOGY,
    "workload": [{"count": 60, "over": 10, "takes": "5ms..500ms", "fails": "0%..20%"}],
    "faults": [{"id": "kill", "do": "host.kill", "host": "a | b", "at": "2s..8s", "lasts": "3s"}],
    "phases": {"chaos": 15, "converge": 60},
    "invariants": {"always": ["one-writer", "bytes-kept"], "eventually": ["nothing-lost", "lag-zero", "tree-all-running"]},
}


def small(**more):
    return scenario_from(SMALL | more)


@pytest.mark.slow
@pytest.mark.parametrize("name", library())
def test_the_library_holds(name):
    told = run_scenario(scenarios()[name], seed=1)
    assert told.verdict.passed, str(told.verdict)


def test_each_scenario_of_the_library_is_named_like_its_file_and_has_faults_that_bite_or_are_drawn():
    for name, one in scenarios().items():
        assert one.name == name
        assert one.faults


def test_a_run_from_its_tape_is_the_same_run():
    first = run_scenario(small(), seed=3)
    again = run_scenario(small(), seed=3, replay=first.tape)
    assert again.verdict == first.verdict
    assert list(again.trace) == list(first.trace)


def test_a_tape_of_another_scenario_is_refused():
    tape = run_scenario(small(), seed=3).tape
    with pytest.raises(Misaligned):
        run_scenario(small(hosts=["a", "b", "c"]), seed=3, replay=Tape(tape))


def test_seeds_are_different_runs():
    assert run_scenario(small(), seed=1).verdict.digest != run_scenario(small(), seed=2).verdict.digest


def test_another_process_with_another_hash_seed_has_the_same_digest(tmp_path):
    (tmp_path / "small.json").write_text(json.dumps(SMALL))  # JSON is YAML
    told = [verdict_of(tmp_path / "small.json", hash_seed) for hash_seed in ("1", "4242")]
    assert told[0] == told[1]
    assert told[0]["digest"] == run_scenario(small(), seed=5).verdict.digest


def verdict_of(file, hash_seed):
    command = [sys.executable, "-m", "forebay", "scenario", "run", str(file), "--seed", "5", "--json"]
    environ = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_sometimes_that_never_happened_fails_the_run():
    verdict = run_scenario(small(faults=[], invariants={"sometimes": ["another-term"]}), seed=1).verdict
    assert not verdict.passed
    assert verdict.names == {"sometimes another-term"}


def test_a_fault_that_changes_nothing_is_told_as_such():
    faults = [{"id": id_, "do": "host.kill", "host": "a", "at": at, "lasts": "5s"} for id_, at in (("one", 2), ("two", 4))]
    verdict = run_scenario(small(faults=faults), seed=1).verdict
    assert [(bite.id, bite.bit) for bite in verdict.bites] == [("one", True), ("two", False)]
    assert verdict.counts["faults"] == 1


@pytest.mark.parametrize("verb", ["redis.wipe", "redis.flush"])
def test_what_is_empty_cannot_be_emptied(verb):
    faults = [{"id": id_, "do": verb, "queue": "main", "at": 4} for id_ in ("one", "two")]
    verdict = run_scenario(small(faults=faults), seed=1).verdict
    assert sorted(bite.bit for bite in verdict.bites) == [False, True]


def test_a_failure_leaves_a_folder_from_which_it_runs_again(tmp_path):
    failing = small(expect={"counts": {"accepted": {"most": 10}}})
    told = run_scenario(failing, seed=2)
    assert not told.verdict.passed
    save(tmp_path / "kept", failing, told)
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "scenario.yaml", "verdict.json", "tape.jsonl", "trace.jsonl", "tree.json", "report.html", "REPRODUCE.txt",
    }  # fmt: skip
    assert kept(tmp_path / "kept") == Kept("sim", 2, told.verdict.digest)
    again = run_scenario(load_scenario(tmp_path / "kept" / KEPT), 2, Tape.load(tmp_path / "kept" / "tape.jsonl")).verdict
    assert again.digest == told.verdict.digest
    assert again.names == {"expect accepted"}
    assert set(json.loads((tmp_path / "kept" / "tree.json").read_text())) == {"a", "b"}


def test_faults_of_one_id_do_not_change_the_draws_of_others():
    both = small(faults=[*SMALL["faults"], {"id": "slow", "do": "jobs.slow", "by": "1s..3s", "at": "1s..9s", "lasts": "1s"}])
    alone = evolve(both, faults=both.faults[:1])
    bites = [[bite for bite in run_scenario(one, seed=7).verdict.bites if bite.id == "kill"] for one in (both, alone)]
    assert [(bite.at, bite.args) for bite in bites[0]] == [(bite.at, bite.args) for bite in bites[1]]


@pytest.mark.slow
def test_a_failover_that_loses_every_write_of_a_partition_and_not_the_fence_loses_no_job():
    one = {
        "topology": TOPOLOGY | {"topics": [{"name": "jobs", "partitions": 1}], "workers": {"slots": 1}},
        "hosts": ["a"],
        "workload": [{"count": 10, "at": at, "over": 1, "takes": 0.5} for at in (2, 6)],
        "phases": {"chaos": 10, "converge": 45},
        "invariants": {"eventually": ["nothing-lost"]},
    }
    for lost in range(11, 19):  # one of them is all that came after the fence
        fault = {"id": "fail", "do": "redis.failover", "queue": "main", "lost": lost, "at": "3500ms"}
        verdict = run_scenario(small(**one, faults=[fault]), seed=1).verdict
        assert verdict.passed, f"{lost} lost: {verdict}"


def test_the_scenario_of_the_guide_is_one_and_holds():
    page = (ROOT / "docs" / "scenarios.md").read_text()
    text = re.search(r"```yaml\n(format: .*?)```", page, re.DOTALL)[1]
    verdict = run_scenario(read_scenario(text, "scenarios.md", Path()), seed=1).verdict
    assert verdict.passed, str(verdict)
