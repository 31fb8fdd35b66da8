"""Random trees and timed programs, played on a runtime and on the plain model: both tell the same story (A2).

What is compared: every start, end, incident, planned restart, escalation and parking with its time, exit, incarnation and
order; the state, incarnation and counters of every place before each operation; the answers to all requests; how the root
ended; that no task outlives its incarnation and that no ended incarnation handles a message.
"""

import ast
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from support.effort import examples
from support.planting import Fault
from support.supervision_check import FAILED_START, GROUP_RESTART, STOP_IN_RESTART, TWO_LEVELS, check, occurrences
from support.supervision_programs import programs

from forebay.actors.process import ActorProcess
from forebay.scenarios.loop import Stuck
from forebay.supervisors import restarting, stopping
from forebay.supervisors.child import Child
from forebay.supervisors.supervisor import Supervisor
from forebay.supervisors.window import RestartWindow

USUAL = 500
HARD = (GROUP_RESTART, FAILED_START, TWO_LEVELS, STOP_IN_RESTART)
PLAYED, OPEN = "played", "left open by the rules"

FAULTS = (
    Fault(
        "off by one in the window",
        RestartWindow.add,
        "len(self._incidents) <= self._intensity.max_restarts",
        "len(self._incidents) < self._intensity.max_restarts",
    ),
    Fault(
        "counted per child, not per incident",
        restarting._incident,
        "_budget(supervisor, child).add(asyncio.get_running_loop().time())",
        "all([_budget(supervisor, child).add(asyncio.get_running_loop().time()) for _ in group(supervisor, child)])",
    ),
    Fault("forward stop order", stopping.stop_children, "reversed(children)", "list(children)"),
    Fault("temporary children restart", restarting.will_restart, "is Restart.PERMANENT", "is not Restart.TRANSIENT"),
    Fault("failures forgotten on start", Child.begun, "self.started_at = now", "self.started_at, self.failures = now, 0"),
    Fault("cancellation swallowed by a supervisor", Supervisor.wait, "self._cancelled = True", "return"),
    Fault("cancellation swallowed by an actor", ActorProcess._main, "raise asyncio.CancelledError", "return"),
    Fault("leaked task", ActorProcess._end_tasks, "in self._cancel_tasks()", "in []"),
)


def run_machine(seen, count, **options):
    """The machine: so many programs, drawn and checked. Raises what tells the two sides apart."""

    @settings(max_examples=count, **options)
    @given(programs())
    def play(program):
        seen[PLAYED] += 1
        world = check(program)
        seen.update([OPEN] if world is None else occurrences(world))

    play()


@pytest.mark.slow
def test_a_tree_does_what_the_plain_model_says(record_figure):
    seen = Counter()
    run_machine(seen, examples(USUAL, 10_000))
    for what in (*HARD, OPEN):
        record_figure(f"supervisor machine: {what}", 100 * seen[what] / seen[PLAYED], "% of examples")
    assert {what: seen[what] for what in HARD if seen[what] < 0.05 * seen[PLAYED]} == {}
    assert seen[OPEN] < 0.05 * seen[PLAYED]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_the_machine_finds_a_planted_fault_within_its_usual_number_of_examples(fault, record_figure):
    seen = Counter()
    unshrunk = {"phases": [Phase.generate], "database": None, "report_multiple_bugs": False, "derandomize": True}
    with fault.planted(), pytest.raises((AssertionError, Stuck)):
        run_machine(seen, USUAL, **unshrunk)
    record_figure(f"supervisor machine: {fault.name} found", seen[PLAYED], "examples at most")


def test_the_model_imports_nothing_of_forebay():
    files = [*Path(__file__).parent.glob("model_*.py"), Path(__file__).with_name("supervisor_model.py")]
    assert len(files) == 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
                ours = [name for name in names if name.split(".")[0] in ("forebay", "support")]
                assert ours == [], file.name
