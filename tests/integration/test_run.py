"""`forebay run`: signals, exit codes, what is in the way; and the same errors when embedded (A5, O5)."""

import asyncio
import shutil
import signal
import socket
import threading
import time
from contextlib import closing

import pytest
from support import stores
from support.running import Running, wait_until
from support.sources import ROOT

from forebay import Registry, Runtime, RuntimeStartFailed
from forebay.backends.errors import DataFolderInUse
from forebay.scenarios.journal import Journal, read_journal
from forebay.scenarios.ledger import FINISHED, STARTED, ledger_of
from forebay.scenarios.poster import Poster, Stopped

CONFIG = """
topics: [{name: jobs, partitions: 2}]
gate: {port: %s}
console: off
workers: {slots: 4, handlers: [journaling_jobs], lease: 5s, drain: %s}
"""


@pytest.fixture
def folder(tmp_path):
    shutil.copy(ROOT / "tests/support/journaling_jobs.py", tmp_path)
    (tmp_path / "forebay.yaml").write_text(CONFIG % (0, "4s"))
    return tmp_path


def started(folder) -> Running:
    return Running(folder, HANDLED=str(folder / "handled"))


def post(folder, runtime: Running, *jobs: dict) -> None:
    with Journal(folder / "posted") as journal, closing(Poster(runtime.gate_url, journal, threading.Event())) as poster:
        for job in jobs:
            poster.post(job)


def noted(folder, what: str) -> int:
    return sum(words[1] == what for words in read_journal(folder / "handled"))


@pytest.mark.slow
def test_term_under_load_ends_clean_without_a_lease_left_or_a_job_done_twice(folder):
    stop = threading.Event()

    def load(number: int) -> None:
        with Journal(folder / "posted") as journal, closing(Poster(runtime.gate_url, journal, stop, pause=0.01)) as poster:
            try:
                for n in range(10_000):
                    poster.post({"type": "work", "id": f"{number}-{n}"})
            except Stopped:
                return

    with started(folder) as runtime:
        runtime.gate_url()
        threads = [threading.Thread(target=load, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: noted(folder, FINISHED) >= 20, "jobs are done")
            code = runtime.terminate()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert code == 0, runtime.err.read_text()
    assert stores.leased(folder / "data") == 0
    with started(folder) as runtime:
        wait_until(lambda: not ledger_of(folder / "posted", folder / "handled", ()).lost, "all accepted jobs are done")
        assert runtime.terminate() == 0
    ledger = ledger_of(folder / "posted", folder / "handled", ())
    assert (ledger.lost, ledger.duplicates) == (frozenset(), frozenset())


def test_a_job_that_cannot_end_in_time_is_given_back_and_the_stop_is_clean(folder):
    (folder / "forebay.yaml").write_text(CONFIG % (0, "100ms"))
    with started(folder) as runtime:
        post(folder, runtime, {"type": "slow", "id": "s", "args": {"seconds": 60}})
        wait_until(lambda: noted(folder, STARTED) == 1, "the job runs")
        assert runtime.terminate() == 0, runtime.err.read_text()
    assert stores.leased(folder / "data") == 0
    assert stores.rows(folder / "data", "SELECT id, attempt FROM jobs WHERE state = 0") == [("s", 0)]


def test_a_second_signal_ends_what_the_first_one_waits_for(folder):
    (folder / "forebay.yaml").write_text(CONFIG % (0, "10s"))
    with started(folder) as runtime:
        post(folder, runtime, {"type": "slow", "id": "s", "args": {"seconds": 60}})
        wait_until(lambda: noted(folder, STARTED) == 1, "the job runs")
        runtime.signal(signal.SIGINT)
        wait_until(lambda: "SIGINT: stopping in order" in runtime.err.read_text(), "the first signal is heard")
        begun = time.monotonic()
        runtime.signal(signal.SIGTERM)
        assert runtime.end() == 3, runtime.err.read_text()
        assert time.monotonic() - begun < 9.5
    assert "SIGTERM: stopping at once" in runtime.err.read_text()


def test_a_thread_that_cannot_be_cancelled_does_not_hold_the_process(folder):
    (folder / "forebay.yaml").write_text(CONFIG % (0, "100ms"))
    with started(folder) as runtime:
        post(folder, runtime, {"type": "hangs", "id": "h", "args": {"seconds": 120}})
        wait_until(lambda: noted(folder, STARTED) == 1, "the job runs")
        begun = time.monotonic()
        assert runtime.terminate() == 4, runtime.err.read_text()
        assert time.monotonic() - begun < 30
    assert "threads are still busy" in runtime.err.read_text()


def test_a_signal_after_the_stop_does_not_change_the_exit_code(folder):
    (folder / "forebay.yaml").write_text(CONFIG % (0, "100ms"))
    with started(folder) as runtime:
        post(folder, runtime, {"type": "hangs", "id": "h", "args": {"seconds": 120}})
        wait_until(lambda: noted(folder, STARTED) == 1, "the job runs")
        runtime.signal(signal.SIGINT)
        wait_until(lambda: "stopped in" in runtime.err.read_text(), "it has stopped, and its thread lingers")
        assert runtime.terminate() == 4, runtime.err.read_text()


@pytest.fixture
def taken_port():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_named_with_what_to_do(folder, taken_port):
    (folder / "forebay.yaml").write_text(CONFIG % (taken_port, "1s"))
    with started(folder) as runtime:
        assert runtime.end() == 1
    error = runtime.err.read_text().rpartition("Error: ")[2]
    assert f"port {taken_port} is taken: stop the program that has it, or choose another port" in error
    assert "Traceback" not in error


def test_a_data_folder_in_use_is_named_with_the_process_that_has_it(folder):
    with started(folder) as first:
        first.gate_url()
        (folder / "second").mkdir()
        (folder / "second/forebay.yaml").write_text("data: ../data\ngate: {port: 0}\nconsole: off\n")
        with Running(folder / "second") as second:
            assert second.end() == 1
        error = second.err.read_text()
        assert f"is in use by process {first.process.pid}; stop that process or choose another data folder" in error
        assert "Traceback" not in error
        assert first.terminate() == 0


def settings(folder, port: int):
    return {"data": str(folder / "embedded"), "gate": {"port": port}, "console": False}


async def test_embedded_a_taken_port_is_an_error_and_the_host_lives(tmp_path, taken_port):
    with pytest.raises(RuntimeStartFailed, match=f"port {taken_port} is taken"):
        await Runtime.from_config(settings(tmp_path, taken_port), registry=Registry()).start()
    async with Runtime.from_config(settings(tmp_path, 0), registry=Registry()) as runtime:  # nothing of the first is left
        assert await runtime.gate_url() is not None


async def test_embedded_two_runtimes_in_one_folder_is_an_error_and_the_first_lives(tmp_path):
    registry = Registry()
    ran = asyncio.Event()
    registry.job("x")(lambda job: None)

    @registry.job("y")
    async def y(job):
        ran.set()

    async with Runtime.from_config(settings(tmp_path, 0), registry=registry) as first:
        with pytest.raises(DataFolderInUse, match="stop that process or choose another"):
            await Runtime.from_config(settings(tmp_path, 0), registry=registry).start()
        await first.enqueue("y")
        await ran.wait()
