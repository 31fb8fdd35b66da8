"""The demo breaks things only as long as there is something to break (O4)."""

from pathlib import Path
from random import Random

import pytest
from support.inline import InlineEmbedded

from forebay.backends.ports import TopicSpec
from forebay.scenarios.demo import _Play
from forebay.scenarios.demo_faults import Fault
from forebay.scenarios.demo_flow import gauge
from forebay.scenarios.journal import Journal
from forebay.scenarios.loop import running_loop
from forebay.scenarios.virtual import run_virtual


async def never(runtime, topic):
    """A slot that is busy whenever somebody looks is not to be had."""
    return


@pytest.mark.parametrize(
    ("posting", "accepted", "left"), [(True, [], 1), (False, ["x"], 1), (False, [], 0)], ids=["posting", "missing", "over"]
)
def test_a_fault_that_had_no_chance_while_jobs_ran_is_left_out_and_holds_nobody_up(tmp_path: Path, posting, accepted, left):
    async def main():
        store = InlineEmbedded(None, running_loop().clock, Random(1))
        await store.start()
        await store.log.ensure([TopicSpec("jobs", 1, 60.0, 1000)])
        with Journal(tmp_path / "posted") as journal, Journal(tmp_path / "handled"):
            for id_ in accepted:
                journal.note(id_)
        found = gauge("jobs", store.queue(), tmp_path / "posted", tmp_path / "handled")
        await found.read()
        play = _Play(None, "jobs", found, 12, faults=[Fault(0.25, never)], posting=posting)
        assert await play._break_something(1.0) == []
        await store.stop()
        return play

    assert len(run_virtual(main).faults) == left
