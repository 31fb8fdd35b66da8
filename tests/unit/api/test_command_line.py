"""The command line without a running runtime: help, configurations, what is missing (O5)."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from forebay.cli import main


@pytest.fixture
def forebay(tmp_path, monkeypatch):
    """Run a command in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as the commands do; undone after the test

    def run(*arguments: str, stdin: str | None = None):
        return CliRunner().invoke(main, list(arguments), input=stdin)

    return run


FIVE_MISTAKES = """\
data: [1]
topics:
  - {name: jobs, partitions: zero, rate: fast}
gate: {prot: 8080}
workers: {lease: 5parsecs}
"""


def test_check_names_every_mistake_with_file_line_and_key(forebay, tmp_path):
    (tmp_path / "bad.yaml").write_text(FIVE_MISTAKES)
    result = forebay("check", "bad.yaml")
    assert result.exit_code == 2
    lines = result.stderr.removeprefix("Error: ").splitlines()
    places = [line.split(": found")[0] for line in lines]
    assert places == [
        "bad.yaml:1: data",
        "bad.yaml:3: topics[0].partitions",
        "bad.yaml:3: topics[0].rate",
        "bad.yaml:4: gate.prot",
        "bad.yaml:5: workers.lease",
    ]
    assert all("; " in line for line in lines), "each says what would be right"


def test_run_refuses_the_same_configuration_with_the_same_words(forebay, tmp_path):
    (tmp_path / "bad.yaml").write_text(FIVE_MISTAKES)
    assert forebay("run", "bad.yaml").stderr == forebay("check", "bad.yaml").stderr


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_stop_that_has_too_little_time_is_told_before_anything_starts(forebay, tmp_path, command):
    """S5."""
    (tmp_path / "slow.yaml").write_text("workers: {drain: 20s}\n")
    result = forebay(command, "slow.yaml")
    assert result.exit_code == 2
    assert "shutdown.deadline: found 30s, and an orderly stop may take" in result.stderr
    assert "or shorten workers.drain" in result.stderr


def test_check_prints_what_is_in_force_and_hides_what_came_from_the_environment(forebay, tmp_path, monkeypatch):
    monkeypatch.setenv("ZONE", "secret-zone")
    (tmp_path / "good.yaml").write_text('gate: {zone: "${ZONE}", port: 9}\n')
    result = forebay("check", "good.yaml")
    assert result.exit_code == 0, result.output
    assert "port: 9" in result.output
    assert "slots: 50" in result.output, "defaults are shown"
    assert "zone: '***'" in result.output
    assert "secret-zone" not in result.output


def test_check_names_a_handlers_module_that_cannot_be_imported(forebay, tmp_path):
    (tmp_path / "c.yaml").write_text("workers: {handlers: [no_such_module]}\n")
    result = forebay("check", "c.yaml")
    assert result.exit_code == 2
    assert "c.yaml: workers.handlers: cannot import 'no_such_module'" in result.stderr


def test_check_names_file_and_line_of_handlers_that_are_not_python(forebay, tmp_path):
    (tmp_path / "broken_handlers.py").write_text("def f(:\n")
    (tmp_path / "c.yaml").write_text("workers: {handlers: [broken_handlers]}\n")
    result = forebay("check", "c.yaml")
    assert result.exit_code == 2
    assert "broken_handlers.py:1: invalid syntax" in result.stderr


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_configuration_that_is_not_there_is_named(forebay, command):
    result = forebay(command, "gone.yaml")
    assert result.exit_code == 2
    assert "gone.yaml: found no readable file (No such file or directory)" in result.stderr


@pytest.mark.parametrize("arguments", [["tree"], ["enqueue", "x"], ["jobs", "count"], ["jobs", "list"]])
def test_without_a_runtime_the_folder_is_named_and_how_to_start_one(forebay, arguments):
    result = forebay(*arguments, "--data", "nowhere")
    assert result.exit_code == 1
    assert "no runtime runs in nowhere" in result.stderr
    assert "forebay run CONFIG" in result.stderr


def test_a_command_without_any_configuration_asks_for_one(forebay):
    result = forebay("tree")
    assert result.exit_code == 2
    assert "there is no forebay.yaml here; say which runtime with --config FILE or --data DIR" in result.stderr


def test_two_answers_to_where_the_runtime_is_are_refused(forebay):
    result = forebay("tree", "--config", "a.yaml", "--data", "b")
    assert result.exit_code == 2
    assert "give one of them" in result.stderr


@pytest.mark.parametrize(("args", "stdin"), [("{to: ann}", None), ("-", '{"to": ')])
def test_arguments_that_are_not_json_are_refused_before_anything_is_sent(forebay, args, stdin):
    result = forebay("enqueue", "mail.send", args, "--data", "nowhere", stdin=stdin)
    assert result.exit_code == 2
    assert "ARGS are not JSON" in result.stderr


def test_what_is_wrong_in_the_arguments_is_told_by_its_place_in_them(forebay):
    result = forebay("enqueue", "mail.send", '{"to": ann}', "--data", "nowhere")
    assert "Expecting value at character 7" in result.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--delay", "-1"], "delay must be a number of seconds"), (["1, 2"], "ARGS are not JSON"), (["--id", ""], "id has 0")],
)
def test_what_is_no_job_is_refused_before_anything_is_sent(forebay, options, told):
    result = forebay("enqueue", "mail.send", *options, "--data", "nowhere")
    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.parametrize("command", ["resubmit", "discard"])
def test_an_action_on_no_job_in_particular_is_refused(forebay, command):
    result = forebay("jobs", command, "--data", "nowhere", "--topic", "jobs")
    assert result.exit_code == 2
    assert "name the jobs by their ids, or all of them with --all" in result.stderr


def test_help_loads_neither_the_runtime_nor_any_client_library():
    code = (
        "import sys\nfrom forebay.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(*(m for m in ('yaml', 'uvicorn', 'starlette', 'rich', 'sqlite3', 'anyio', 'attrs', 'http.client')"
        " if m in sys.modules), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.split() == []
    assert "demo" in run.stdout


@pytest.mark.parametrize("rate", ["5", "fast", "5000 per s", "5/d"])
def test_a_rate_that_is_none_is_told_by_its_argument_and_no_runtime_is_asked(forebay, tmp_path, rate):
    run = forebay("limits", "set", "jobs", rate, "--data", str(tmp_path))
    assert run.exit_code == 2
    assert f"Invalid value for 'RATE': {rate!r}: write a rate like 5000/s, 100/m or 20/h" in run.output
