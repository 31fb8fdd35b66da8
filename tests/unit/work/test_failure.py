"""What is kept of a handler's failure (Q2)."""

import pytest

from forebay.actors.work.failure import FRAMES, MAX_HEAD, MAX_TEXT, failure_text


def caught(function, *args):
    with pytest.raises(BaseException) as info:
        function(*args)
    return info.value


def fail(error):
    raise error


def nest(depth, error):
    if depth:
        nest(depth - 1, error)
    raise error


def test_the_first_line_is_type_and_message_and_the_place_follows():
    first, *rest = failure_text(caught(fail, ValueError("no such\n user"))).splitlines()
    assert first == "ValueError: no such user"
    assert any(__file__ in line and "in fail" in line for line in rest)


def test_only_the_innermost_frames_are_kept():
    text = failure_text(caught(nest, 40, ValueError("deep")))
    assert "raise error" in text
    assert text.count("File ") <= FRAMES


def test_frames_that_led_to_the_handler_are_left_out():
    namespace = {"__name__": "forebay.actors.work.sample"}
    exec("def ours(function, *args):\n    function(*args)", namespace)
    error = caught(namespace["ours"], fail, ValueError("x"))
    error.__traceback__ = error.__traceback__.tb_next  # begin with ours, as a slot's task does
    text = failure_text(error)
    assert "in fail" in text
    assert "in ours" not in text


def test_frames_of_ours_stay_where_there_are_no_others():
    namespace = {"__name__": "forebay.actors.work.sample"}
    exec("def ours(function):\n    function()", namespace)
    error = caught(namespace["ours"], 5)
    error.__traceback__ = error.__traceback__.tb_next
    assert "in ours" in failure_text(error)


@pytest.mark.parametrize("message", ["x" * 100_000, "\n" * 9000 + "y", "é" * 50_000])
def test_the_text_is_bounded(message):
    text = failure_text(caught(fail, ValueError(message)))
    assert len(text) <= MAX_TEXT
    assert len(text.splitlines()[0]) <= MAX_HEAD


def test_what_no_store_takes_is_escaped():
    text = failure_text(caught(fail, ValueError("a\ud800b\0c")))
    assert text.splitlines()[0] == r"ValueError: a\ud800b\x00c"
    assert text.encode("utf-8")


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("not today")


def test_an_error_that_cannot_tell_its_message_is_told_by_its_type():
    assert "Speechless" in failure_text(caught(fail, Speechless())).splitlines()[0]


def test_the_members_of_a_group_are_told():
    group = ExceptionGroup("several", [KeyError("k"), ValueError("v")])
    text = failure_text(caught(fail, group))
    assert "KeyError: 'k'" in text
    assert "ValueError: v" in text
