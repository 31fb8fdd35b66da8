"""Values that are made once for each job."""

import pytest

from forebay.backends.ports import QueuedJob


def test_bytes_that_users_posted_are_shown_by_their_number_alone():
    shown = repr(QueuedJob(offset=3, id="a", type="mail.send", args=b'{"password":"x"}'))
    assert shown.startswith("QueuedJob(offset=3, id='a', type='mail.send', args=<16 bytes>, ")


def test_a_value_is_frozen_and_equal_to_one_with_the_same_fields():
    one, same, other = (QueuedJob(offset=offset, id="a", type="t", args=b"1") for offset in (1, 1, 2))
    assert one == same != other
    assert hash(one) == hash(same)
    with pytest.raises(AttributeError, match="immutable"):
        one.offset = 2
