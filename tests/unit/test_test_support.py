"""The test run's own machinery: requirements on services, the summary, docs/verification.md."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import services
from support.sources import ROOT
from support.verification import sections_of

pytest_plugins = ["pytester"]


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with nothing on PATH and nothing in the cache; returns the only folder on PATH."""
    for variable in ("PATH", "FOREBAY_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))
    for variable in ("JAVA_HOME", "FOREBAY_REQUIRE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.mark.parametrize("kind", ["redis", "consul", "kafka"])
def test_a_missing_service_skips_with_what_is_missing_and_how_to_get_it(bare, kind):
    with pytest.raises(pytest.skip.Exception, match=f"{kind} is not on this machine; `forebay services get --only {kind}`"):
        services.require(kind)


def test_a_missing_service_that_is_required_fails(bare, monkeypatch):
    monkeypatch.setenv("FOREBAY_REQUIRE", "consul, redis")
    with pytest.raises(pytest.fail.Exception, match="FOREBAY_REQUIRE names it"):
        services.require("redis")


def test_a_service_that_cannot_run_is_skipped_with_the_reason(bare):
    (bare / "kafka-4.3.0").mkdir()
    with pytest.raises(pytest.skip.Exception, match="kafka: no java on PATH; install a Java of 17 or newer"):
        services.require("kafka")


def test_a_service_that_is_there_is_returned_as_a_program(bare):
    server = bare / "redis-server"
    server.write_text("#!/bin/sh\necho Redis server v=7.0.15 sha=0\n")
    server.chmod(0o755)
    program = services.require("redis")
    assert (program.command, program.version) == ((str(server),), "7.0.15")


def test_an_unknown_service_in_forebay_require_is_an_error():
    with pytest.raises(ValueError, match=r"\['reddis'\]; known are \['consul', 'kafka', 'redis'\]"):
        services.required({"FOREBAY_REQUIRE": "reddis"})


SUITE = """
import pytest

def test_passes(record_figure):
    record_figure("restart", 84, "microseconds")
    record_figure("scenario on real servers: worker-killed", 12.4, "passed")

def test_fails():
    assert False

@pytest.mark.parametrize("n", [1, 2])
def test_skips(n):
    pytest.skip("no server")

@pytest.mark.xfail(reason="known")
def test_is_known_to_fail():
    assert False

@pytest.fixture
def broken():
    raise RuntimeError

def test_errors(broken): ...

@pytest.mark.long
def test_long(): ...
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch):
    """Run SUITE under this project's conftest, in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    pytester.makeini("[pytest]\nmarkers = long\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text())
    pytester.makepyfile(test_suite=SUITE)
    return lambda *arguments: pytester.runpytest_subprocess("-m", "not long", *arguments)


def test_the_summary_counts_tests_and_gives_the_reasons_for_skipping(run):
    result = run()
    result.stdout.fnmatch_lines(
        [
            "*= figures =*",
            "restart: 84 microseconds",
            "*= what ran =*",
            "skipped 2 x no server",
            "4 tests ran in * s: 1 passed, 2 failed, 2 skipped, 1 left out by their marks",
        ]
    )


def test_verification_names_machine_versions_failures_and_figures(run, tmp_path: Path):
    run("--verification", str(tmp_path / "verification.md"))
    written = (tmp_path / "verification.md").read_text()
    for line in [
        "| ran | 4 |",
        "| failed | 2 |",
        "- test_suite.py::test_fails",
        "- test_suite.py::test_errors",
        "- 2 x no server",
        "- restart: 84 microseconds",
        "- worker-killed: passed in 12 s",
    ]:
        assert line in written.splitlines()
    for row in ["tests", "date", "machine", "kernel", "Python", "SQLite", "anyio"]:
        assert f"| {row} | " in written


def test_each_part_of_a_long_run_has_its_section_and_leaves_the_others(run, tmp_path: Path):
    page = tmp_path / "verification.md"
    for part, tests in [("servers", "fails"), ("models", "test"), ("servers", "errors")]:
        run(f"--verification={page}", f"--part={part}", "-k", tests)
    servers, models = (sections_of(page.read_text())[part] for part in ("servers", "models"))
    assert servers.startswith("## Servers\n")
    assert ("test_errors" in servers, "test_fails" in servers) == (True, False), (
        "the second run of a part replaces the first"
    )
    assert ("test_errors" in models, "test_fails" in models) == (True, True)


def test_an_unknown_required_service_stops_the_run_before_the_first_test(run, monkeypatch):
    monkeypatch.setenv("FOREBAY_REQUIRE", "reddis")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*FOREBAY_REQUIRE names*reddis*"])


@pytest.mark.parametrize(("long", "derandomized", "examples", "chosen"), [("", True, 100, 5), ("1", False, 500, 50)])
def test_the_long_run_draws_anew_and_tries_more(long, derandomized, examples, chosen):
    """In a process of its own: the profile is chosen once, when the run begins."""
    program = (
        "from hypothesis import settings\n"
        "from support import effort\n"
        "effort.load_hypothesis_profile()\n"
        "print(settings().derandomize, settings().max_examples, effort.examples(5, 50))"
    )
    environ = {**os.environ, "FOREBAY_LONG": long, "PYTHONPATH": str(ROOT / "tests")}
    run = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert run.stdout == f"{derandomized} {examples} {chosen}\n"
