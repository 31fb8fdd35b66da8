import math

import pytest

from forebay.jobs import Fail, JobContext, RetryAfter


def context(raw):
    return JobContext(id="i", type="t", attempt=1, max_attempts=5, topic="jobs", raw=raw)


def test_args_are_decoded_with_exact_integers_and_raw_is_untouched():
    raw = rb'{ "n": 9007199254740993, "s": "\u00e9\/" }'
    job = context(raw)
    assert job.args == {"n": 2**53 + 1, "s": "é/"}
    assert job.raw == raw


def test_args_are_decoded_once():
    job = context(b"[1]")
    assert job.args is job.args


def test_args_that_are_not_json_fail_when_they_are_asked_for_only():
    job = context(b"{")
    assert job.raw == b"{"
    with pytest.raises(ValueError, match="Expecting"):
        _ = job.args


def test_arguments_are_not_in_the_repr():
    assert "hunter2" not in repr(context(b'"hunter2"'))


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_retry_after_takes_seconds_that_pass(seconds):
    with pytest.raises(ValueError, match="seconds"):
        RetryAfter(seconds, "later")


def test_verdicts_carry_their_reason():
    assert RetryAfter(2.5, "busy").seconds == 2.5
    assert str(RetryAfter(2.5, "busy")) == "busy"
    assert Fail("no such user").reason == "no such user"
