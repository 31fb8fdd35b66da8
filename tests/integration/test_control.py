"""The commands that talk to a running runtime, over the socket in its data folder (O4, Q2)."""

import json
import shutil

import pytest
from support.running import Running, forebay, wait_until
from support.sources import ROOT

from forebay.scenarios.journal import read_journal
from forebay.scenarios.ledger import FINISHED

HANDLERS = """
from journaling_jobs import *
from forebay import Fail

@job("fails")
async def fails(context):
    raise Fail("no such customer")

@job("echo")
async def echo(context):
    journal.note(context.id, "raw", context.raw.hex())
"""

CONFIG = """
topics: [{name: jobs, partitions: 2}, {name: other, partitions: 1}]
gate: off
console: off
workers: {slots: 4, handlers: [handlers]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which a runtime runs."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(ROOT / "tests/support/journaling_jobs.py", folder)
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "forebay.yaml").write_text(CONFIG)
    with Running(folder, HANDLED=str(folder / "handled")) as runtime:
        wait_until(lambda: "forebay runs" in runtime.out.read_text() or runtime.process.poll() is not None, "it runs")
        assert runtime.process.poll() is None, runtime.err.read_text()
        yield folder


def noted(folder, id_: str, what: str) -> list[tuple[str, ...]]:
    return [words for words in read_journal(folder / "handled") if words[:2] == (id_, what)]


def test_enqueue_prints_id_and_place_and_the_job_is_done(folder):
    run = forebay("enqueue", "work", '{"n": 1}', "--id", "one", cwd=folder)
    assert run.stderr == ""
    assert run.stdout.split()[0] == "one"
    assert run.stdout.split()[1].startswith("jobs/")
    wait_until(lambda: noted(folder, "one", FINISHED), "it is done")


def test_arguments_from_standard_input_reach_the_handler_byte_for_byte(folder):
    raw = '{ "a":"</b>&\\/ \\u00e9 é", "n":9007199254740993, "z":-0,"a":1 }'
    run = forebay("enqueue", "echo", "-", "--id", "bytes", "--topic", "other", cwd=folder, stdin=raw)
    assert run.stdout == "bytes other/0/0\n", run.stderr
    wait_until(lambda: noted(folder, "bytes", "raw"), "it ran")
    assert noted(folder, "bytes", "raw") == [("bytes", "raw", raw.encode().hex())]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["enqueue", "no.such"], "nothing handles 'no.such'; there are handlers for"),
        (["enqueue", "work", "--topic", "gone"], "'gone' in the log; the topics are jobs, other"),
        (["jobs", "list", "--topic", "gone"], "'gone'"),
    ],
)
def test_what_the_runtime_refuses_is_told_in_its_words(folder, arguments, told):
    run = forebay(*arguments, cwd=folder)
    assert run.returncode == 1
    assert told in run.stderr
    assert "Traceback" not in run.stderr


def test_with_several_topics_one_must_be_chosen(folder):
    run = forebay("jobs", "list", cwd=folder)
    assert run.returncode == 2
    assert "the topics jobs, other; choose one with --topic" in run.stderr


def test_the_tree_is_shown_for_people_and_for_programs(folder):
    shown = forebay("tree", "--data", folder / "data", cwd=folder.parent).stdout
    assert "partition_consumer[0..1]  running" in shown
    plain = json.loads(forebay("tree", "--json", cwd=folder).stdout)
    assert plain["path"] == "/"
    assert {child["path"] for child in plain["children"]} == {"/gates", "/relays", "/workers", "/console"}


def test_a_dead_job_is_listed_with_its_error_resubmitted_and_discarded(folder):
    def dead() -> list[dict]:
        run = forebay("jobs", "list", "--topic", "jobs", "--json", cwd=folder)
        return [json.loads(line) for line in run.stdout.splitlines()]

    assert forebay("enqueue", "fails", "--id", "d1", cwd=folder).returncode == 0
    assert forebay("enqueue", "fails", "--id", "d2", cwd=folder).returncode == 0
    wait_until(lambda: [job["id"] for job in dead()] == ["d1", "d2"], "both are dead")
    assert "no such customer" in dead()[0]["error"]
    assert "d1  fails  attempt 1  " in forebay("jobs", "list", "--topic", "jobs", cwd=folder).stdout
    assert forebay("jobs", "discard", "d1", "--topic", "jobs", cwd=folder).stdout == "1 discarded\n"
    assert forebay("jobs", "resubmit", "--all", "--topic", "jobs", cwd=folder).stdout == "1 resubmitted\n"
    wait_until(lambda: [job["id"] for job in dead()] == ["d2"], "it is dead again")
    assert "dead 1" in forebay("jobs", "count", cwd=folder).stdout
