"""The token bucket against its definition (R7)."""

import math
from itertools import accumulate

import hypothesis.strategies as st
import pytest
from hypothesis import event, given

from forebay.actors.relay.token_bucket import TICK, TokenBucket

RATES = st.sampled_from([0.3, 1.0, 7.0, 5000.0, 1e6 / 3])
BURSTS = st.sampled_from([1, 10, 500, 5000])
COUNTS = st.lists(st.integers(1, 2000), min_size=1, max_size=40)
STARTS = st.sampled_from([0.0, 1e5 / 3, 1e9 / 7])


def grants(bucket, requests, start):
    """Serve (time, count) requests first come, first served, as the actor does; return (time, count) of each grant."""
    now, granted = start, []
    for asked, count in requests:
        now = max(now, asked)
        for _ in range(3):
            wait = bucket.take(count, now)
            if not wait:
                break
            now += wait
        else:
            raise AssertionError("a timer that fires on time does not lead to a grant")
        granted.append((now, count))
    return granted


@given(RATES, BURSTS, COUNTS, STARTS)
def test_under_load_it_grants_exactly_its_rate(rate, burst, counts, start):
    granted = grants(TokenBucket(rate, burst, start), [(start, count) for count in counts], start)
    slack = 1e-9 * start + 2 * TICK  # what a float of that size can tell apart
    for (at, count), total in zip(granted, accumulate(counts), strict=True):
        needed = total if count <= burst else total - count + burst
        assert at - start == pytest.approx(needed / rate, rel=1e-9, abs=slack)


@given(RATES, BURSTS, st.lists(st.tuples(st.floats(0, 5), st.integers(1, 2000)), min_size=1, max_size=30))
def test_no_window_gets_more_than_rate_times_its_length_and_a_burst(rate, burst, gaps):
    requests = [(at, count) for at, (_, count) in zip(accumulate(gap for gap, _ in gaps), gaps, strict=True)]
    granted = grants(TokenBucket(rate, burst, 0.0), requests, 0.0)
    largest = max(burst, *(count for _, count in granted))
    for first in range(len(granted)):
        total = 0
        for at, count in granted[first:]:
            total += count
            length = at - granted[first][0] + TICK * 2
            assert total <= rate * length * (1 + 1e-9) + largest
            if total > largest:
                event("a window of more than a burst")


def test_a_quiet_time_is_worth_at_most_one_burst():
    bucket = TokenBucket(100.0, 50, 0.0)
    assert bucket.take(50, 1000.0) == 0.0
    assert bucket.take(50, 1000.0) == pytest.approx(0.5)


def test_it_begins_empty():
    assert TokenBucket(10.0, 100, 5.0).take(1, 5.0) == pytest.approx(0.1)


def test_a_taking_over_the_burst_waits_for_a_full_bucket_and_owes_the_rest():
    bucket = TokenBucket(10.0, 20, 0.0)
    assert bucket.take(100, 0.0) == pytest.approx(2.0)
    assert bucket.take(100, 2.0) == 0.0
    assert bucket.take(10, 2.0) == pytest.approx(9.0)


def test_a_pause_grants_nothing_and_keeps_what_was_there():
    bucket = TokenBucket(10.0, 20, 0.0)
    bucket.set_rate(0.0, 1.0)
    assert bucket.take(1, 1.0) == math.inf
    assert bucket.take(1, 1e9) == math.inf
    bucket.set_rate(10.0, 1e9)
    assert bucket.take(10, 1e9) == 0.0
    assert bucket.take(1, 1e9) == pytest.approx(0.1)


def test_without_a_rate_everything_is_granted_and_nothing_saved_up():
    bucket = TokenBucket(None, 20, 0.0)
    assert bucket.take(10**9, 100.0) == 0.0
    bucket.set_rate(10.0, 100.0)
    assert bucket.take(1, 100.0) == pytest.approx(0.1)


def test_a_bucket_that_holds_nothing_is_refused():
    with pytest.raises(ValueError, match="burst"):
        TokenBucket(1.0, 0, 0.0)
