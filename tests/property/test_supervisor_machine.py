"""Random trees and timed programs, played on a runtime and on the plain model: both tell the same story (A2).

What is compared: every start, end, incident, planned restart, escalation and parking with its time, exit, incarnation and
order; the state, incarnation and counters of every place before each operation; the answers to all requests; how the root
ended; that no task outlives its incarnation and that no ended incarnation handles a message.
"""

import ast
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from support.effort import examples
from support.supervision_check import FAILED_START, GROUP_RESTART, STOP_IN_RESTART, TWO_LEVELS, check, occurrences
from support.supervision_programs import programs

HARD = (GROUP_RESTART, FAILED_START, TWO_LEVELS, STOP_IN_RESTART)
PLAYED, OPEN = "played", "left open by the rules"


@pytest.mark.slow
def test_a_tree_does_what_the_plain_model_says(record_figure):
    seen = Counter()

    @settings(max_examples=examples(500, 10_000))
    @given(programs())
    def play(program):
        world = check(program)
        seen[PLAYED] += 1
        seen.update([OPEN] if world is None else occurrences(world))

    play()
    for what in (*HARD, OPEN):
        record_figure(f"supervisor machine: {what}", 100 * seen[what] / seen[PLAYED], "% of examples")
    assert {what: seen[what] for what in HARD if seen[what] < 0.05 * seen[PLAYED]} == {}
    assert seen[OPEN] < 0.05 * seen[PLAYED]


def test_the_model_imports_nothing_of_forebay():
    files = [*Path(__file__).parent.glob("model_*.py"), Path(__file__).with_name("supervisor_model.py")]
    assert len(files) == 4
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
                ours = [name for name in names if name.split(".")[0] in ("forebay", "support")]
                assert ours == [], file.name
