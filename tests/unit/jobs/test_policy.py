import math
import random

import pytest

from forebay.jobs import RetryPolicy


def test_the_delay_is_drawn_evenly_between_zero_and_the_doubling_ceiling():
    policy = RetryPolicy(base=1.0, cap=3600.0)
    stream = random.Random(7)
    draws = [policy.delay(3, stream) for _ in range(4000)]
    assert 0 <= min(draws) < 0.05
    assert 3.95 < max(draws) <= 4.0
    assert abs(sum(draws) / len(draws) - 2.0) < 0.1


def test_the_ceiling_stops_at_the_cap_however_often_a_job_failed():
    policy = RetryPolicy(max_attempts=10**9, base=1.0, cap=60.0)
    stream = random.Random(7)
    assert max(policy.delay(attempt, stream) for attempt in (7, 100, 10**8)) <= 60.0


def test_max_attempts_counts_every_run():
    policy = RetryPolicy(max_attempts=2)
    assert [policy.exhausted(attempt) for attempt in (1, 2, 3)] == [False, True, True]


@pytest.mark.parametrize(
    "values",
    [
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"max_attempts": True},
        {"base": 0},
        {"base": math.nan},
        {"base": 10, "cap": 5},
        {"cap": math.inf},
        {"cap": math.nan},
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(values):
    with pytest.raises(ValueError, match=list(values)[-1]):
        RetryPolicy(**values)


def test_an_attempt_counts_from_one():
    with pytest.raises(ValueError, match="from 1"):
        RetryPolicy().delay(0, random.Random(0))
