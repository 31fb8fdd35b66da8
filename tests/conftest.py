"""What every test run shares: effort, required services, and a summary that says what did not run
and why.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import effort, services
from support.outcome import figure_property, outcome_of
from support.verification import written

pytest_plugins = ["support.live", "support.side_by_side"]

STARTED = pytest.StashKey[float]()

effort.load_hypothesis_profile()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--verification",
        type=Path,
        metavar="PATH",
        help="write what this run showed to PATH, in Markdown",
    )
    parser.addoption(
        "--part", default="tests", metavar="NAME", help="of which part of the tests PATH is told; the others stay there"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STARTED] = time.monotonic()
    try:
        services.required()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture
def record_figure(request: pytest.FixtureRequest) -> Callable[[str, float, str], None]:
    """Record a number that this test measured: `record_figure("restart", 84, "microseconds")`.

    It is printed at the end of the run and goes into docs/verification.md.
    """

    def record(name: str, value: float, unit: str) -> None:
        request.node.user_properties.append(figure_property(name, value, unit))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    outcome = outcome_of(terminalreporter.stats, config.stash[STARTED])
    if outcome.figures:
        terminalreporter.section("figures")
        for figure in outcome.figures:
            terminalreporter.line(str(figure))
    terminalreporter.section("what ran")
    for reason, count in sorted(outcome.skipped.items()):
        terminalreporter.line(f"skipped {count} x {reason}")
    terminalreporter.line(str(outcome))
    if (path := config.getoption("--verification")) is not None:
        chosen = "all" if config.args_source is pytest.Config.ArgsSource.TESTPATHS else " ".join(config.args)
        without = [f"without {nodeid}" for nodeid in config.getoption("deselect") or ()]
        size = "full size" if effort.LONG else "usual size"
        end = ["broken off before its end"] if exitstatus == pytest.ExitCode.INTERRUPTED else []
        written(path, config.getoption("--part"), outcome, "; ".join([chosen, *without, size, *end]))
