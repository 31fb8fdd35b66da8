"""What coordination may hold as a topic's limit (R7)."""

import pytest

from forebay.actors.limits import Limit, read_limit


@pytest.mark.parametrize(
    ("value", "limit", "per_second"),
    [
        (b"5000/s", Limit("5000/s"), 5000.0),
        (b" 60/m\n", Limit("60/m"), 1.0),
        (b"pause", Limit(None, paused=True), 0.0),
        (b"0", Limit(None, paused=True), 0.0),
        (b"pause 20/h", Limit("20/h", paused=True), 0.0),
    ],
)
def test_a_limit_is_a_rate_or_a_pause_which_may_keep_a_rate(value, limit, per_second):
    assert read_limit(value) == limit
    assert limit.per_second == per_second
    assert read_limit(str(limit).encode()) == limit


@pytest.mark.parametrize("value", [b"", b"fast", b"pause fast", b"paused", b"5000", b"\xff/s"])
def test_what_is_no_limit_is_refused_with_what_would_be(value):
    with pytest.raises(ValueError, match="write a rate like 5000/s"):
        read_limit(value)


def test_nothing_set_is_as_configured():
    assert (Limit().per_second, str(Limit())) == (None, "")
