"""`forebay demo` ends with nothing lost, although it breaks its runtime; and its account can tell a loss."""

import os
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from support.running import FOREBAY, forebay, wait_until

DELAYED = 1


def figures(output: str) -> dict[str, int]:
    """The account as the demo prints it."""
    return {name: int(number) for name, number in re.findall(r"^ *([a-z]+) +(\d+)  \S", output, re.MULTILINE)}


@pytest.mark.slow
def test_the_demo_loses_nothing_and_shows_what_rose_again(tmp_path):
    run = forebay("demo", "--jobs", "150", "--data", tmp_path / "d", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    account = figures(run.stdout)
    assert account["posted"] == 150
    assert account["lost"] == 0
    assert account["dead"] > 0
    assert account["retried"] > 0
    assert account["posted"] == account["finished"] + account["dead"]
    assert re.search(r"the demo crashed slot\[\d\]", run.stdout)
    assert re.search(r"the demo crashed partition_consumer\[\d\]", run.stdout)
    assert "the demo deleted the lock forebay/locks/jobs" in run.stdout
    risen = run.stdout.partition("risen again")[2].partition("\n")[0]
    assert all(name in risen for name in ("topic_lock", "rate_limiter", "kafka_connection", "redis_writer", "slot["))


ON_SERVERS = """
data: d
log: {{url: "{kafka}"}}
coordination: {{url: "{consul}"}}
queues: {{main: {{url: "{redis}"}}}}
topics: [{{name: demo, partitions: 4}}]
gate: {{port: 0}}
workers: {{slots: 8, drain: 2s}}
console: off
"""


@pytest.mark.slow
def test_the_demo_on_kafka_consul_and_redis_loses_nothing_whatever_earlier_ones_left_there(
    tmp_path, kafka_cluster, consul_server, redis_servers
):
    urls = {"kafka": kafka_cluster.url, "consul": consul_server.url, "redis": redis_servers.main.url}
    (tmp_path / "f.yaml").write_text(ON_SERVERS.format(**urls))
    for data, jobs in (("earlier", 12), ("d", 100)):
        run = forebay("demo", "--config", "f.yaml", "--data", tmp_path / data, "--jobs", str(jobs), cwd=tmp_path)
        assert run.returncode == 0, run.stdout + run.stderr
        account = figures(run.stdout)
        assert (account["posted"], account["lost"]) == (jobs, 0)
        assert account["dead"] > 0
        assert account["posted"] == account["finished"] + account["dead"]
    assert "the demo deleted the lock forebay/locks/demo" in run.stdout
    risen = run.stdout.partition("risen again")[2].partition("\n")[0]
    assert all(name in risen for name in ("topic_lock", "kafka_connection", "redis_writer", "partition_consumer[", "slot["))


def delete_a_delayed_job(store: Path) -> str | None:
    """Take one job that waits for its time out of the store, from another process's hands; None if there is none yet."""
    if not store.exists():
        return None
    with closing(sqlite3.connect(store, timeout=10)) as connection, connection:
        try:
            found = connection.execute(
                "DELETE FROM jobs WHERE number IN (SELECT max(number) FROM jobs WHERE state = ?) RETURNING id", (DELAYED,)
            ).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):  # the store is being made
                return None
            raise
    return found[0][0] if found else None


@pytest.mark.slow
def test_one_job_deleted_from_the_store_is_one_lost_in_the_account(tmp_path):
    deleted: list[str] = []

    def try_to_delete() -> bool:
        if (id_ := delete_a_delayed_job(tmp_path / "d" / "queue-main.db")) is not None:
            deleted.append(id_)
        return bool(deleted)

    command = [*FOREBAY, "demo", "--jobs", "100", "--data", str(tmp_path / "d")]
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            wait_until(try_to_delete, "a delayed job is in the store")
            code = process.wait(100)
        finally:
            process.kill()
            process.wait()
    output = (tmp_path / "out").read_text()
    assert code == 1, output
    assert figures(output)["lost"] == 1
    assert f"lost: {deleted[0]}" in output


@pytest.mark.slow
def test_a_second_demo_in_the_same_folder_accounts_for_both(tmp_path):
    for _ in range(2):
        run = forebay("demo", "--jobs", "12", "--data", tmp_path / "d", cwd=tmp_path)
        assert run.returncode == 0, run.stdout + run.stderr
    assert figures(run.stdout)["posted"] == 24


def test_a_demo_without_a_gate_says_why_it_cannot(tmp_path):
    (tmp_path / "f.yaml").write_text("gate: off\n")
    run = forebay("demo", "--config", "f.yaml", cwd=tmp_path)
    assert run.returncode == 2
    assert "no gate (gate: off); give it one" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_on_a_terminal_the_demo_draws_tree_flow_and_events(tmp_path):
    ours, its = os.openpty()
    process = subprocess.Popen(
        [*FOREBAY, "demo", "--jobs", "20"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "110", "LINES": "45", "TERM": "xterm"},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    text = b""
    try:
        while chunk := os.read(ours, 65536):
            text += chunk
    except OSError:  # how the end of the other side reads on Linux
        pass
    finally:
        os.close(ours)
    assert process.wait(60) == 0, text[-2000:]
    for part in (b"the tree", b"the flow", b"what happened", b"partition_consumer", b"nothing was lost"):
        assert part in text
