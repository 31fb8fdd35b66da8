"""The loop factory under pytest-asyncio, in a test run of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = """
from forebay.scenarios.loop import loop_factory

def pytest_asyncio_loop_factories(config, item):
    return {"virtual": loop_factory(seed=3)}
"""

TESTS = """
import asyncio
import pytest

@pytest.fixture
async def started():
    await asyncio.sleep(3600)
    return asyncio.get_running_loop().time()

async def test_time(started):
    await asyncio.sleep(36000)
    assert asyncio.get_running_loop().time() == started + 36000

async def test_deadlock():
    await asyncio.Event().wait()
"""


def test_tests_run_on_virtual_time_and_a_deadlock_fails_its_test(
    tmp_path: Path,
) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_virtual.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", ".", "."]
    command += ["-o", "asyncio_mode=auto", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout
    assert "Deadlock: deadlock: nothing is ready and no timer is set" in done.stdout
