import random

import attrs
import pytest

from forebay.config import Backoff, GateConfig, Intensity, Overflow, TopicConfig


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: Intensity(max_restarts=-1), "max_restarts"),
        (lambda: Intensity(max_restarts=1.5), "max_restarts"),
        (lambda: Intensity(period=0), "period"),
        (lambda: Backoff(base=0), "base"),
        (lambda: Backoff(base=2, cap=1), "cap"),
        (lambda: GateConfig(port=65_536), "port"),
        (lambda: TopicConfig(name="a/b"), "write 1 to 240"),
    ],
)
def test_values_made_in_code_are_checked_too(build, name):
    with pytest.raises(ValueError, match=name):
        build()


def test_overflow_has_the_five_policies():
    names = {"block", "reject", "drop_oldest", "drop_newest", "coalesce"}
    assert {policy.value for policy in Overflow} == names


def test_values_are_immutable():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Intensity().period = 1.0


def test_the_backoff_grows_to_its_cap_with_full_jitter():
    stream = random.Random(4)
    backoff = Backoff(base=0.1, cap=30.0)
    first = [backoff.delay(1, stream) for _ in range(500)]
    late = [backoff.delay(50, stream) for _ in range(500)]
    assert max(first) <= 0.1 < 29 < max(late) <= 30.0
    assert min(late) < 1.0
