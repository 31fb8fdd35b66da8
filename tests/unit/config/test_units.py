import math

import pytest

from forebay.config.units import (
    parse_duration,
    parse_rate,
    parse_size,
    show_duration,
    show_rate,
    show_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5.0),
        ("1.5 s", 1.5),
        (" 5m ", 300.0),
        ("48h", 172_800.0),
        ("7d", 604_800.0),
        ("3", 3.0),
        (5, 5.0),
        (0.5, 0.5),
        (0, 0.0),
    ],
)
def test_durations_are_read_as_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4MiB", 4 * 2**20),
        ("64KiB", 65_536),
        ("1GB", 10**9),
        ("1.5KiB", 1536),
        ("10", 10),
        (10, 10),
        ("7B", 7),
    ],
)
def test_sizes_are_read_as_bytes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(("text", "rate"), [("5000/s", 5000.0), ("90/m", 1.5), ("36/h", 0.01), ("2.5 / s", 2.5)])
def test_rates_are_read_as_events_per_second(text, rate):
    assert parse_rate(text) == rate


NEVER = [
    "",
    "s",
    "5x",
    "-5s",
    "5 s s",
    "1h30m",
    "\u0665s",
    "0x5",
    None,
    True,
    [],
    -(10**15),
    math.inf,
]
NEVER += [math.nan, 10**400, "9" * 5000, "1e3"]


@pytest.mark.parametrize("value", NEVER)
@pytest.mark.parametrize("parse", [parse_duration, parse_size, parse_rate])
def test_anything_else_is_refused_with_the_right_form(parse, value):
    with pytest.raises(ValueError, match="write a"):
        parse(value)


@pytest.mark.parametrize("value", ["1.5B", 1.5, "0.3KiB"])
def test_a_size_is_a_whole_number_of_bytes(value):
    with pytest.raises(ValueError, match="whole bytes"):
        parse_size(value)


@pytest.mark.parametrize("value", [5, "5", "5/ms", "5/d", "/s"])
def test_a_rate_needs_its_unit(value):
    with pytest.raises(ValueError, match="write a rate"):
        parse_rate(value)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.25, 0.0005, 1.5, 59.0, 60.0, 172_800.0, 90.25])
def test_a_shown_duration_is_read_back(seconds):
    assert parse_duration(show_duration(seconds)) == seconds


@pytest.mark.parametrize("size", [0, 1, 1000, 1024, 1536, 4 * 2**20, 2**30])
def test_a_shown_size_is_read_back(size):
    assert parse_size(show_size(size)) == size


@pytest.mark.parametrize("text", ["5000/s", "100/m", "20/h", "7/h"])
def test_a_shown_rate_is_read_back(text):
    assert parse_rate(show_rate(parse_rate(text))) == parse_rate(text)
