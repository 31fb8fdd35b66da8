"""`forebay scenario`: what it prints, how it ends, what it keeps (F1, F6, O4, O5)."""

import json
from concurrent.futures.process import BrokenProcessPool

import pytest
import yaml
from click.testing import CliRunner

from forebay.cli import main
from forebay.scenarios.replay.library import library
from forebay.scenarios.replay.runner import run_scenario
from forebay.scenarios.replay.verbs import VERBS

TINY = """\
format: forebay-scenario/1
name: tiny
about: Nothing happens.
topology:
  log: {url: "kafka://simulated:9092"}
  coordination: {url: "consul://simulated:8500"}
  queues: {main: {url: "redis://simulated:6379"}}
  topics: [{name: jobs, partitions: 1}]
hosts: [a]
workload:
  - {count: 5, over: 1s}
phases: {chaos: 2s, converge: 30s}
invariants: {eventually: [nothing-lost, lag-zero]}
"""
FAILING = (
    TINY.replace("tiny", "failing")
    + """\
faults:
  - {id: skew, do: host.skew, host: a, by: 5, at: 1s}
expect: {counts: {accepted: {most: 1}}}
"""
)


@pytest.fixture
def forebay(tmp_path, monkeypatch):
    """Run `forebay scenario` in a folder with two files, in this process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "failing.yaml").write_text(FAILING)

    def run(*arguments):
        return CliRunner().invoke(main, ["scenario", *arguments])

    return run


def test_the_library_is_listed_with_what_each_is_about(forebay):
    lines = forebay("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(library())
    assert all(len(line.split()) > 3 for line in lines)


def test_a_scenario_is_shown_as_it_is_read(forebay):
    assert yaml.safe_load(forebay("show", "tiny.yaml").stdout)["workload"] == [{"count": 5, "over": "1s"}]


def test_every_word_is_told(forebay):
    shown = forebay("words").stdout
    assert all(f"  {verb}" in shown for verb in VERBS)


def test_a_scenario_that_holds_ends_with_0_and_keeps_nothing(forebay, tmp_path):
    result = forebay("run", "tiny.yaml")
    assert result.exit_code == 0
    assert result.stdout.startswith("passed  tiny  seed 0")
    assert not (tmp_path / ".scenarios").exists()


def test_seeds_run_side_by_side_and_it_is_told_how_many_count(forebay):
    result = forebay("run", "tiny.yaml", "--seeds", "1..3", "--jobs", "2")
    assert [line.split()[:4] for line in result.stdout.splitlines()] == [["passed", "tiny", "seed", n] for n in "123"]
    assert "3 of 3 seeds passed. 0 count; of the others 3 had fewer than 2 runtimes" in result.stderr


def test_json_has_a_line_for_each_seed(forebay):
    result = forebay("run", "tiny.yaml", "--seeds", "1..3", "--json")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["seed"], one["passed"], one["counts"]["accepted"]) for one in told] == [(n, True, 5) for n in (1, 2, 3)]
    assert len({one["digest"] for one in told}) == 3


def test_one_that_does_not_hold_ends_with_1_and_is_kept_to_be_run_again(forebay, tmp_path):
    result = forebay("run", "failing.yaml", "--seeds", "4..9")
    assert result.exit_code == 1
    assert "expect accepted: 5, not 0 to 1" in result.stdout
    assert (tmp_path / ".scenarios/failing-4/REPRODUCE.txt").read_text() == (
        "forebay scenario run .scenarios/failing-4/scenario.yaml --seed 4\n"
    )
    again = forebay("run", ".scenarios/failing-4")
    assert again.exit_code == 1
    assert again.stdout == result.stdout


def test_a_tape_of_other_code_is_an_error_that_says_so(forebay, tmp_path):
    forebay("run", "failing.yaml")
    tape = tmp_path / ".scenarios/failing-0/tape.jsonl"
    tape.write_text("\n".join(tape.read_text().splitlines()[:-5]) + "\n")
    result = forebay("run", ".scenarios/failing-0")
    assert result.exit_code == 1
    assert "the tape has no more, the run " in result.stderr
    assert "scenario.yaml there runs without the tape" in result.stderr


def test_a_failure_is_shrunk(forebay, tmp_path):
    result = forebay("shrink", "failing.yaml")
    assert result.exit_code == 0
    assert "0 of 1 faults are left" in result.stdout
    assert "faults" not in yaml.safe_load((tmp_path / ".scenarios/failing-0-shrunk/scenario.yaml").read_text())


def test_what_passes_cannot_be_shrunk(forebay):
    result = forebay("shrink", "tiny.yaml")
    assert result.exit_code == 2
    assert "tiny passes with seed 0; find a seed that fails with `forebay scenario run tiny.yaml --seeds 1..1000`" in (
        result.stderr
    )


def test_a_report_is_one_page(forebay, tmp_path):
    result = forebay("report", "tiny.yaml", "--out", "page.html")
    assert result.exit_code == 0
    assert "<title>tiny, seed 0</title>" in (tmp_path / "page.html").read_text()


def test_a_mistake_in_the_file_is_named_by_its_line(forebay, tmp_path):
    (tmp_path / "bad.yaml").write_text(TINY.replace("hosts", "hots"))
    result = forebay("run", "bad.yaml")
    assert result.exit_code == 2
    assert "bad.yaml:9: hots: found an unknown key; did you mean hosts?" in result.stderr


def test_a_scenario_that_is_nowhere_is_named_with_those_that_are(forebay):
    result = forebay("run", "worker-kild")
    assert result.exit_code == 2
    assert "did you mean worker-killed?" in result.stderr


def test_a_topology_on_embedded_stores_is_refused_with_what_to_write(forebay, tmp_path):
    (tmp_path / "embedded.yaml").write_text(TINY.replace('{url: "kafka://simulated:9092"}', '{url: "sqlite:"}'))
    result = forebay("run", "embedded.yaml")
    assert result.exit_code == 2
    assert "embedded.yaml:5: topology.log.url: found 'sqlite:'; write a kafka: URL" in result.stderr


def test_what_only_the_simulation_can_do_is_refused_on_real_servers_before_anything_starts(forebay):
    result = forebay("run", "failing.yaml", "--on", "real")
    assert result.exit_code == 2
    assert (
        "failing.yaml:15: faults[0].do: found host.skew, which only the simulation can do; run it with --on sim"
        in result.stderr
    )
    assert "starting" not in result.stderr


def test_seeds_on_real_servers_run_one_after_the_other(forebay):
    result = forebay("run", "tiny.yaml", "--on", "real", "--seeds", "1..3", "--jobs", "2")
    assert result.exit_code == 2
    assert "--jobs is for --seeds on the simulation" in result.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--seed", "1", "--seeds", "1..3"], "--seed is for one run and --seeds for many: give one of them"),
        (["--seed", "1", "--jobs", "2"], "--jobs is for --seeds on the simulation"),
    ],
)
def test_options_that_would_do_nothing_are_refused(forebay, options, told):
    result = forebay("run", "tiny.yaml", *options)
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_server_that_cannot_be_had_is_named_with_how_to_get_it(forebay, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path / "cache"))
    result = forebay("run", "tiny.yaml", "--on", "real")
    assert result.exit_code == 1
    names = "redis, consul, kafka: not on this machine; `forebay services get --only redis,consul,kafka` downloads them"
    assert names in result.stderr


def test_words_say_where_they_work(forebay):
    shown = {line.split()[0]: line for line in forebay("words").stdout.splitlines()}
    assert " sim " in shown["host.skew"]
    assert " both " in shown["host.kill"]
    assert " both " in shown["one-writer"]
    assert " sim " in shown["one-lease"]
    assert " sim " in shown["memory-full"]
    assert shown["queue-away"].split()[:3] == ["queue-away", "both", "A"]


def test_what_a_word_means_is_told_to_its_end(forebay):
    lines = forebay("words").stdout.splitlines()
    told = [line for line in lines if line.startswith("  ") and (" sim " in line or " both " in line)]
    assert [line for line in told if not line.endswith(".")] == []


def test_a_report_says_how_to_run_it_again_by_the_name_that_was_given(forebay, tmp_path):
    forebay("report", "lock-deleted", "--seed", "3", "--out", "page.html")
    assert "forebay scenario run lock-deleted --seed 3<" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    "saved", ["{}", "[]", "\x00", '{"on": "moon", "seed": 0}', '{"on": "sim", "seed": -4, "digest": "a"}']
)
def test_a_kept_run_without_its_verdict_is_refused_with_what_to_do(forebay, tmp_path, saved):
    forebay("run", "failing.yaml")
    (tmp_path / ".scenarios/failing-0/verdict.json").write_text(saved)
    result = forebay("run", ".scenarios/failing-0")
    assert result.exit_code == 2
    assert "run .scenarios/failing-0/scenario.yaml itself" in result.stderr


@pytest.mark.parametrize("tape", [b"\xff\xfe", b'{"format": "forebay-tape/1"}\n\xff\n', b"", None])
def test_a_damaged_tape_is_refused_with_what_to_do(forebay, tmp_path, tape):
    forebay("run", "failing.yaml")
    file = tmp_path / ".scenarios/failing-0/tape.jsonl"
    file.unlink()
    if tape is not None:
        file.write_bytes(tape)
    result = forebay("run", ".scenarios/failing-0")
    assert result.exit_code == 2
    assert ".scenarios/failing-0/scenario.yaml runs without the tape" in result.stderr


def test_a_kept_run_can_be_shown_shrunk_and_reported_and_has_its_seed(forebay, tmp_path):
    forebay("run", "failing.yaml", "--seed", "3")
    assert yaml.safe_load(forebay("show", ".scenarios/failing-3").stdout)["name"] == "failing"
    assert "0 of 1 faults are left" in forebay("shrink", ".scenarios/failing-3", "--out", "small").stdout
    assert (tmp_path / "small/failing-3-shrunk").is_dir()
    assert "FAILED  failing  seed 3" in forebay("report", ".scenarios/failing-3").stdout
    result = forebay("run", ".scenarios/failing-3", "--seed", "4")
    assert result.exit_code == 2
    assert "run .scenarios/failing-3/scenario.yaml with others" in result.stderr


def test_a_kept_run_is_run_and_reported_where_it_was(forebay, tmp_path, monkeypatch):
    forebay("run", "failing.yaml")
    result = forebay("run", ".scenarios/failing-0", "--on", "real")
    assert result.exit_code == 2
    assert "kept, with --on sim; run .scenarios/failing-0/scenario.yaml with --on real" in result.stderr
    (tmp_path / ".scenarios/failing-0/scenario.yaml").write_text(TINY)
    verdict = tmp_path / ".scenarios/failing-0/verdict.json"
    verdict.write_text(json.dumps({**json.loads(verdict.read_text()), "on": "real", "digest": None}))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path / "cache"))
    for command in ("run", "report"):
        assert "redis, consul, kafka: not on this machine" in forebay(command, ".scenarios/failing-0").stderr
    assert forebay("report", ".scenarios/failing-0", "--on", "sim").exit_code == 0


def test_a_process_that_is_killed_is_told_with_the_seeds_so_far(forebay, monkeypatch):
    def some(one, seeds, *, processes, keep):
        yield run_scenario(one, 1).verdict
        raise BrokenProcessPool

    monkeypatch.setattr("forebay.scenarios.replay.many.verdicts", some)
    result = forebay("run", "tiny.yaml", "--seeds", "1..9")
    assert result.exit_code == 1
    assert "1 of 1 seeds passed" in result.stderr
    assert "a process that ran seeds was killed" in result.stderr


@pytest.mark.parametrize("out", ["nowhere/page.html", ".", "a" * 300])
def test_a_report_that_cannot_be_written_is_refused_before_the_run(forebay, out):
    result = forebay("report", "tiny.yaml", "--out", out)
    assert result.exit_code == 2
    assert f"the report cannot be written to {out}" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("name", ["a" * 300, "", "a\0b"])
def test_a_name_that_no_file_can_have_is_named(forebay, name):
    result = forebay("show", name)
    assert result.exit_code == 2
    assert "there is no file " in result.stderr


def test_a_folder_that_no_run_left_is_told_so(forebay, tmp_path):
    (tmp_path / "empty").mkdir()
    result = forebay("run", "empty")
    assert result.exit_code == 2
    assert "empty is no file, and no folder that a failed run left; name a scenario file" in result.stderr


def test_a_scenario_of_the_library_is_found_beside_a_folder_of_its_name(forebay, tmp_path):
    (tmp_path / "swarm").mkdir()
    assert yaml.safe_load(forebay("show", "swarm").stdout)["name"] == "swarm"


def test_a_fault_whose_event_never_came_is_told(forebay, tmp_path):
    late = "faults: [{id: late, do: host.kill, host: a, when: {event: Zombie}}]\n"
    (tmp_path / "late.yaml").write_text(TINY + late)
    assert "did not take place, for want of their event: late" in forebay("run", "late.yaml").stdout
    assert json.loads(forebay("run", "late.yaml", "--json").stdout)["missed"] == ["late"]


def test_without_what_is_to_hold_eventually_nothing_is_said_of_a_recovery(forebay, tmp_path):
    (tmp_path / "always.yaml").write_text(TINY.replace("eventually: [nothing-lost, lag-zero]", "always: [bytes-kept]"))
    assert json.loads(forebay("run", "always.yaml", "--json").stdout)["recovered"] is None


@pytest.mark.parametrize("value", ["5", "9..3", "a..b", "0..99999999999999999999999", f"0..{'9' * 5000}"])
def test_seeds_are_a_range(forebay, value):
    result = forebay("run", "tiny.yaml", "--seeds", value)
    assert result.exit_code == 2
    assert "write a range like 1..100" in result.stderr
