"""What the embedded stores promise when the process is killed or the disk refuses (G3, Q6)."""

import asyncio
import resource
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from support.appender import TOPIC
from support.clock import ManualClock
from support.effort import examples
from support.sources import ROOT

from forebay.backends.errors import DataFolderInUse
from forebay.backends.ports import Want
from forebay.backends.sqlite import open_embedded

SUPPORT = ROOT / "tests" / "support"
ENOUGH = 200  # acknowledged records before a kill counts


def acknowledged(notes: Path) -> dict[tuple[int, int], str]:
    """(partition, offset) -> name, as the killed processes wrote them down."""
    if not notes.exists():
        return {}
    lines = [line.split() for line in notes.read_text().splitlines()]
    return {(int(partition), int(offset)): name for partition, offset, name in lines}


def run_and_kill(data: Path, notes: Path, random: Random) -> None:
    """Start an appender, let it acknowledge some, kill it a random moment later.

    It appends for as long as nobody looks, so each look costs only what is new.
    """
    process = subprocess.Popen([sys.executable, SUPPORT / "appender.py", data, notes])
    try:
        with notes.open("ab+") as new:
            deadline, count = time.monotonic() + 60, 0
            while count < ENOUGH:
                assert process.poll() is None, "the appender ended by itself"
                assert time.monotonic() < deadline, "the appender makes no progress"
                time.sleep(0.005)
                count += new.read().count(b"\n")
        time.sleep(random.uniform(0, 0.05))
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


async def stored(data: Path) -> dict[tuple[int, int], str]:
    found = {}
    async with open_embedded(data, ManualClock(), Random(1)) as embedded:
        await embedded.log.start()
        connection = await embedded.log.connect(TOPIC.name)
        for partition, extent in (await connection.extents()).items():
            offset = extent.start
            while offset < extent.end:
                records = (await connection.fetch({partition: Want(offset, 1000)}, 0))[partition]
                assert [r.offset for r in records] == list(range(offset, offset + len(records)))
                found |= {(partition, r.offset): r.value.decode() for r in records}
                offset += len(records)
    return found


def test_what_was_acknowledged_survives_kill_9_at_any_instant(tmp_path):
    data, notes, random = tmp_path / "data", tmp_path / "notes", Random(11)
    for _ in range(examples(4, 50)):
        run_and_kill(data, notes, random)
        promised, kept = acknowledged(notes), asyncio.run(stored(data))
        assert promised.items() <= kept.items()
        assert len(set(kept.values())) == len(kept), "a record is there twice"


def test_a_folder_in_use_names_the_other_process_and_is_free_once_that_is_killed(tmp_path):
    data, notes = tmp_path / "data", tmp_path / "notes"
    process = subprocess.Popen([sys.executable, SUPPORT / "appender.py", data, notes])
    try:
        while not acknowledged(notes):
            assert process.poll() is None
            time.sleep(0.005)
        with pytest.raises(DataFolderInUse, match=f"process {process.pid}"):
            open_embedded(data, ManualClock(), Random(1))
    finally:
        process.kill()
        process.wait()
    assert acknowledged(notes).items() <= asyncio.run(stored(data)).items()


REFUSING_DISK = """
import asyncio, resource, sys
from pathlib import Path
from random import Random
from forebay.backends.clock import SystemClock
from forebay.backends.errors import Unavailable
from forebay.backends.ports import Acks, NewRecord, TopicSpec
from forebay.backends.sqlite import open_embedded

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    async with open_embedded(Path(sys.argv[1]), SystemClock(), Random(1)) as embedded:
        log = embedded.log
        await log.start()
        await log.ensure([TopicSpec("jobs", 1, 60.0, 1 << 20)])
        record = NewRecord("jobs", 0, b"x" * 100_000)
        print(await log.append([record], Acks.ALL))
        limit(200_000)
        for _ in range(3):
            try:
                print(await log.append([record] * 3, Acks.ALL))
            except Unavailable:
                print("refused")
        limit(resource.RLIM_INFINITY)
        print(await log.append([record], Acks.ALL))

asyncio.run(main())
"""


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY, reason="file size is limited")
def test_a_store_whose_disk_refuses_to_write_goes_on_when_it_accepts_again(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", REFUSING_DISK, tmp_path / "data"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    assert run.stdout.splitlines() == ["(0,)", "refused", "refused", "refused", "(1,)"]


def test_a_program_that_forgets_to_stop_still_ends(tmp_path):
    program = (
        "import asyncio, pathlib, random, sys\n"
        "from forebay.backends.clock import SystemClock\n"
        "from forebay.backends.sqlite import SqliteLog\n"
        "log = SqliteLog(pathlib.Path(sys.argv[1]), SystemClock())\n"
        "asyncio.run(log.start())\n"
        "print('left')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "log.db"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.stdout, run.returncode) == ("left\n", 0)
    assert (tmp_path / "log.db").exists()
