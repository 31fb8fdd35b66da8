"""The scripts behind the Makefile, run as it runs them."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.sources import ROOT


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None):
    return subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


# ----------------------------------------------------------------------------------------- .ci/venv


@pytest.fixture
def machine(tmp_path):
    """An environment whose only interpreters are the ones that the test puts there."""
    programs = tmp_path / "programs"
    programs.mkdir()
    return {"PATH": str(programs)}


def interpreter(machine: dict[str, str], name: str, code: str) -> Path:
    """A stand-in for Python: `code` is shell that sees the `-c` program as $2 and decides how that
    ends.
    """
    path = Path(machine["PATH"]) / name
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return path


def set_up(machine: dict[str, str], tmp_path: Path):
    return run("/bin/sh", ROOT / ".ci/venv", tmp_path / "new-venv", "dev", cwd=tmp_path, env=machine)


LACKS = 'case "$2" in *print*) echo 3.11;; "import {}") exit 1;; esac'


def test_no_suitable_python_is_answered_with_how_to_get_one(machine, tmp_path):
    interpreter(machine, "python3", "exit 1")
    result = set_up(machine, tmp_path)
    assert result.returncode == 1
    assert "no Python 3.11 or newer was found" in result.stderr
    assert "sudo apt-get install python3 python3-venv" in result.stderr


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_missing_venv_module_is_named_with_the_package_that_has_it(machine, tmp_path, module):
    interpreter(machine, "python3", LACKS.format(module))
    result = set_up(machine, tmp_path)
    assert result.returncode == 1
    assert f"python3 has no {module} module" in result.stderr
    assert "sudo apt-get install python3.11-venv" in result.stderr


@pytest.mark.parametrize("module", ["sqlite3", "ssl"])
def test_an_interpreter_built_without_a_needed_module_is_named(machine, tmp_path, module):
    interpreter(machine, "python3.11", LACKS.format(module))
    result = set_up(machine, tmp_path)
    assert result.returncode == 1
    assert f"python3.11 was built without {module}" in result.stderr


def test_an_interpreter_that_was_asked_for_and_is_too_old_is_not_replaced_by_another(machine, tmp_path):
    interpreter(machine, "python3", "exit 0")
    old = interpreter(machine, "old", "exit 1")
    result = set_up({**machine, "PYTHON": str(old)}, tmp_path)
    assert result.returncode == 1
    assert f"no Python 3.11 or newer was found at PYTHON={old}" in result.stderr


def test_an_existing_environment_is_kept_and_a_failed_install_says_what_it_needs(machine, tmp_path):
    python = tmp_path / "new-venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\ncase "$3" in install) echo "no route" >&2; exit 1;; esac\n')
    python.chmod(0o755)
    result = set_up(machine, tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("no route\nforebay: pip could not install forebay[dev]")


# ---------------------------------------------------------------------------- .ci/wheel_contents.py


@pytest.fixture
def tree(tmp_path):
    """A copy of the packaging with one package of two files, so that a wheel can be wrong."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/wheel_contents.py", tmp_path / ".ci")
    (tmp_path / "pyproject.toml").write_text('[tool.setuptools.package-dir]\n"forebay" = "api"\n')
    (tmp_path / "api").mkdir()
    (tmp_path / "api/__init__.py").touch()
    (tmp_path / "api/claim.lua").touch()
    return tmp_path


def contents(tree: Path, *names: str):
    wheel = tree / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ["forebay/__init__.py", "forebay-1.dist-info/METADATA", *names]:
            archive.writestr(name, "")
    return run(sys.executable, tree / ".ci/wheel_contents.py", wheel)


def test_a_wheel_with_every_file_of_the_tree_is_accepted(tree):
    assert contents(tree, "forebay/claim.lua").returncode == 0


def test_a_wheel_that_lacks_a_data_file_is_refused(tree):
    result = contents(tree)
    assert result.returncode == 1
    assert "lacks forebay/claim.lua" in result.stdout


def test_a_wheel_with_a_top_level_folder_of_ours_is_refused(tree):
    result = contents(tree, "forebay/claim.lua", "api/__init__.py")
    assert result.returncode == 1
    assert "holds api/__init__.py, which is not in the tree" in result.stdout


# --------------------------------------------------------------------------------- .ci/typecheck.py


@pytest.mark.slow
def test_type_errors_are_reported_under_the_files_own_names(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/typecheck.py", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("api", "jobs", "backends/sqlite"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "backends/__init__.py").touch()
    (tmp_path / "jobs/ids.py").write_text("size: int = 1\n")
    (tmp_path / "api/cli.py").write_text("from forebay.jobs.ids import size\nname: str = size\n")
    (tmp_path / "backends/sqlite/log.py").write_text("def f(x): ...\n")
    result = run(sys.executable, tmp_path / ".ci/typecheck.py")
    assert result.returncode == 1
    assert "api/cli.py:2: error: Incompatible types" in result.stdout
    assert "backends/sqlite/log.py:1: error: Function is missing a" in result.stdout
    assert "Found 2 errors in 2 files" in result.stdout


# ------------------------------------------------------------------------------------- bench/run.py


@pytest.fixture
def bench(tmp_path):
    shutil.copy(ROOT / "bench/run.py", tmp_path)
    (tmp_path / "queue.py").write_text("print('12 jobs/s')")
    (tmp_path / "broken.py").write_text("raise SystemExit(3)")
    (tmp_path / "actors").mkdir()
    (tmp_path / "actors/__main__.py").write_text("print('34 tells/s')")
    return lambda *names: run(sys.executable, tmp_path / "run.py", *names, env=dict(os.environ))


def test_named_benchmarks_run_and_no_other(bench):
    result = bench("queue", "actors")
    assert result.returncode == 0
    assert result.stdout.splitlines()[1:] == [
        "",
        "== queue",
        "12 jobs/s",
        "",
        "== actors",
        "34 tells/s",
    ]


def test_a_benchmark_that_fails_fails_the_run_after_the_others(bench):
    result = bench()
    assert result.returncode == 1
    assert "12 jobs/s" in result.stdout
    assert result.stderr == "\nfailed: broken\n"


def test_an_unknown_benchmark_is_answered_with_those_there_are(bench):
    result = bench("speed")
    assert result.returncode == 2
    assert result.stderr == "no benchmark 'speed'; there are: actors broken queue\n"


# ----------------------------------------------------------------------------------------- Makefile


def test_make_alone_lists_every_target_and_does_nothing():
    listed = run("env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "-u", "MFLAGS", "make")  # as a person would, not as a sub-make
    assert listed.returncode == 0
    targets = {line.split()[1] for line in listed.stdout.splitlines()}
    declared = next(x for x in (ROOT / "Makefile").read_text().splitlines() if x.startswith(".PHONY"))
    assert targets == set(declared.split()[1:])
