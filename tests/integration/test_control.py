"""The commands that talk to a running runtime, over the socket in its data folder (O4, Q2)."""

import json
import shutil
from contextlib import closing

import pytest
from support.running import Running, forebay, wait_until
from support.sources import ROOT

from forebay.commands.control import _UnixConnection
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


def test_a_shadow_is_read_by_the_relay_and_reaches_no_handler(folder):
    """R9; of one partition, the job behind it has run when it is past."""
    for id_, options in (("unseen", ["--shadow"]), ("seen", [])):
        assert forebay("enqueue", "echo", "1", "--id", id_, "--topic", "other", *options, cwd=folder).returncode == 0
    wait_until(lambda: noted(folder, "seen", "raw"), "the one behind it ran")
    assert noted(folder, "unseen", "raw") == []


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


def parked(folder, topic="other") -> list[str]:
    """The places of the parked records."""
    run = forebay("jobs", "list", "--state", "parked", "--topic", topic, "--json", cwd=folder)
    return [json.loads(line)["id"] for line in run.stdout.splitlines()]


def post_raw(folder, value: bytes) -> None:
    """Put bytes into the log as they are (G1)."""
    with closing(_UnixConnection(folder / "data" / "control.sock")) as connection:
        connection.request("POST", "/v1/topics/other/partitions/0", value)
        assert connection.getresponse().status == 200


def test_a_parked_record_is_shown_repaired_and_runs_with_the_bytes_given(folder):
    """R6, R10: what is no job is parked, and a person makes one of it without touching its place in line."""
    post_raw(folder, b'{"type": "echo", "args": {"to": }}')
    wait_until(lambda: len(parked(folder)) == 1, "it is parked")
    (place,) = parked(folder)
    shown = forebay("jobs", "show", place, "--topic", "other", cwd=folder).stdout
    assert shown.startswith(f"id: {place}\ntopic: other\n")
    assert "state: parked" in shown
    assert "error: a record without the header forebay-type is a job document: malformed JSON" in shown
    assert shown.endswith('args: {"type": "echo", "args": {"to": }}\n')
    refused = forebay("jobs", "resubmit", place, "--topic", "other", cwd=folder)
    assert refused.stdout == "0 resubmitted\n"
    assert refused.stderr.startswith(f"{place} stays parked: a record without the header forebay-type")
    assert forebay("jobs", "repair", place, "--type", "echo", "--topic", "other", cwd=folder).returncode == 1
    raw = '{ "to":"</b>&\\/ \\u00e9 é", "n":9007199254740993, "z":-0,"a":1 }'
    run = forebay("jobs", "repair", place, "--type", "echo", "--args", "-", "--topic", "other", cwd=folder, stdin=raw)
    assert run.stdout.startswith(f"{place} is at other/0/"), run.stderr
    wait_until(lambda: noted(folder, place, "raw"), "it ran")
    assert noted(folder, place, "raw") == [(place, "raw", raw.encode().hex())]
    assert parked(folder) == []


def test_jobs_chosen_by_what_they_have_in_common_are_counted_before_anything_is_done(folder):
    """R6, Q2."""
    for value in (b"{no json", b'{"type": 7}', b'{"type": 8}'):
        post_raw(folder, value)
    wait_until(lambda: len(parked(folder)) == 3, "they are parked")
    given = ["jobs", "discard", "--all", "parked", "--error", "type must be a text", "--topic", "other"]
    assert forebay(*given, cwd=folder).stdout == "2 match; nothing was done, --yes will discard them\n"
    assert len(parked(folder)) == 3
    assert forebay(*given, "--yes", cwd=folder).stdout == "2 discarded\n"
    assert len(parked(folder)) == 1
    nobody = forebay("jobs", "resubmit", "--all", "parked", "--type", "t", "--yes", "--topic", "other", cwd=folder)
    assert nobody.stdout == "0 resubmitted\n"
    assert forebay("jobs", "discard", "--all", "parked", "--topic", "other", cwd=folder).stdout == "1 discarded\n"


def test_arguments_of_a_parked_record_are_changed_in_the_editor(folder, monkeypatch):
    post_raw(folder, b'{"type": "echo", "args": {"to": }}')
    wait_until(lambda: len(parked(folder)) == 1, "it is parked")
    (place,) = parked(folder)
    editor = folder / "editor"
    editor.write_text("#!/bin/sh\nprintf '[1, 2]' > \"$1\"\n")
    editor.chmod(0o755)
    given = ["jobs", "repair", place, "--type", "echo", "--edit", "--topic", "other"]
    monkeypatch.setenv("VISUAL", "true")
    untouched = forebay(*given, cwd=folder)
    assert (untouched.returncode, untouched.stderr) == (1, "Error: nothing was saved, so nothing was done\n")
    assert parked(folder) == [place]
    monkeypatch.setenv("VISUAL", str(editor))
    assert forebay(*given, cwd=folder).returncode == 0
    wait_until(lambda: noted(folder, place, "raw"), "it ran")
    assert noted(folder, place, "raw") == [(place, "raw", b"[1, 2]".hex())]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["resubmit"], "name the jobs by their ids, or all of them with --all, --type or --error"),
        (["discard", "x", "--all"], "not both"),
        (["repair", "x", "--edit", "--args", "-", "--topic", "jobs"], "not both"),
        (["show", "x", "--topic", "jobs"], "topic 'jobs' has no unfinished, dead or parked job with the id 'x'"),
    ],
)
def test_what_is_not_said_clearly_is_refused(folder, arguments, told):
    run = forebay("jobs", *arguments, cwd=folder)
    assert run.returncode in (1, 2)
    assert told in run.stderr
