"""What the cache of programs promises: whole or absent, and made once."""

import subprocess
import sys
from pathlib import Path

import pytest

from forebay.scenarios.servers.cache import kept


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(folder: Path) -> None:
    (folder / "program").write_text("whole")


def test_what_was_made_is_kept_and_not_made_again():
    folder = kept("redis", fill)
    assert (folder / "program").read_text() == "whole"
    assert kept("redis", lambda _: pytest.fail("made again")) == folder


def test_a_download_that_fails_leaves_nothing_that_looks_whole(cache):
    def fail(folder: Path) -> None:
        fill(folder)
        raise ConnectionError("the network went away")

    with pytest.raises(ConnectionError):
        kept("redis", fail)
    assert [path.name for path in cache.iterdir()] == ["redis.lock"]
    assert (kept("redis", fill) / "program").exists()


def test_what_a_killed_download_left_is_removed_by_the_next_one(cache):
    (cache / ".redis.abcdef" / "new").mkdir(parents=True)
    (cache / ".kafka.abcdef").mkdir()
    kept("redis", fill)
    assert sorted(path.name for path in cache.iterdir()) == [".kafka.abcdef", "redis", "redis.lock"]


MAKE = """
import sys
from pathlib import Path
from forebay.scenarios.servers.cache import kept

def make(folder):
    print("making", flush=True)
    sys.stdin.readline()
    (folder / "program").write_text("whole")

print((kept("redis", make) / "program").read_text(), flush=True)
"""


def start() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKE]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_one_makes_it_and_the_other_takes_that():
    with start() as first:
        assert first.stdout.readline() == "making\n"
        with start() as second:
            first.stdin.write("\n")
            first.stdin.flush()
            assert first.stdout.read() == "whole\n"
            assert second.stdout.read() == "whole\n"
