"""Two processes run the tests under `pytest -n 2`, so that they take little more than half the time of one.

Tests with real servers and real sockets wait for most of their time, and their bounds are those of a clock: the contracts
in one process, all others in the other. Tests on virtual time and properties need a processor and no clock. They come
after the contracts and take what the others leave of the processors; were they equals, bounds would be missed on two cores.
"""

import os
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

NO_CLOCK = (
    "tests/property/",
    "tests/scenario/",
    "tests/unit/config/",
    "tests/unit/jobs/",
    "tests/unit/replay/",
    "tests/unit/test_",
    "tests/integration/test_kill_nine.py",  # waits a minute for whatever it waits for
)
"""Where the tests are whose verdict no clock has a part in."""
SECOND = 10
"""Niceness of the side without a clock: a tenth of what the other could take, while that one wants both processors."""


def side(nodeid: str) -> str:
    """Which side a test is of."""
    if nodeid.startswith(NO_CLOCK):
        return "no clock"
    return "contract" if nodeid.startswith("tests/contract/") else "clock"


class SideBySide(LoadScopeScheduling):
    """Gives each side whole and in its order to one worker; the last to whoever is through with another first."""

    def _split_scope(self, nodeid: str) -> str:
        return side(nodeid)


class Deselected:
    """How many tests their marks leave out: each worker finds the same ones, and the controller is told by one."""

    count = 0

    @pytest.hookimpl
    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.count += len(items)

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        session.config.workeroutput["deselected"] = self.count  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Deselected())
        config.option.basetemp = config.option.basetemp.replace("popen-gw", "")  # a socket's path has about 100 bytes


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SideBySide:
    config.option.loadscopereorder = False  # the contracts come first, since they are collected first
    return SideBySide(config, log)


def pytest_testnodedown(node: Any) -> None:
    """Runs in the controller when a worker has ended."""
    stats = node.config.pluginmanager.get_plugin("terminalreporter").stats
    count = getattr(node, "workeroutput", {}).get("deselected", 0)
    stats["deselected"] = [SimpleNamespace() for _ in range(count)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if hasattr(item.config, "workerinput") and side(item.nodeid) == "no clock":
        os.nice(SECOND - os.nice(0))
