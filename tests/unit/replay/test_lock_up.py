"""How long a system stood still though it could have gone on, as a verdict counts it (F4)."""

import pytest

from forebay.scenarios.replay.counts import counted
from forebay.scenarios.replay.evidence import Bite, Evidence, Moment, Run


def seen(moments, runs=(), bites=()):
    """`moments` are pairs: seconds, jobs that wait."""
    return Evidence(
        moments=[Moment(float(at), waiting={"jobs": waiting}) for at, waiting in moments],
        runs=[Run(f"job {number}", "a", 1, began, ended) for number, (began, ended) in enumerate(runs)],
        bites=list(bites),
    )


def every_second(until, waiting=1):
    return [(at, waiting) for at in range(1, until + 1)]


@pytest.mark.parametrize(
    ("evidence", "seconds"),
    [
        (seen([]), 0),
        (seen(every_second(9)), 9),
        (seen(every_second(9, waiting=0)), 0),
        (seen(every_second(9), runs=[(3.5, 3.6)]), 5),
        (seen(every_second(9), runs=[(0.5, None), (0.6, 2.5)]), 6),
        (seen(every_second(9), bites=[Bite("slow", "jobs.slow", {}, 0.0, 5.5)]), 4),
        (seen(every_second(9), bites=[Bite("slow", "jobs.slow", {}, 4.0, None)]), 5),
        (seen(every_second(9), bites=[Bite("memory", "redis.limit", {}, 0.0, None)]), 9),
        (seen([*every_second(4), (5, 0), (6, 1), (7, 1)]), 4),
    ],
)
def test_it_counts_the_longest_time_in_which_jobs_waited_and_none_began_or_ended(evidence, seconds):
    assert counted(evidence)["locked_seconds"] == seconds
