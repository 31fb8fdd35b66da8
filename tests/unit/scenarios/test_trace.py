"""The trace of a run, its digest and its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.scenarios.trace import Trace, TraceError, Value, encoded, first_difference

texts = st.text().filter(lambda text: " at 0x" not in text and not text.startswith("at 0x"))
plain = st.none() | st.integers() | texts | st.binary() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8)


def trace_of(*details: Value) -> Trace:
    trace = Trace(lambda: 1.5)
    for detail in details:
        trace.add("/relay/jobs", 2, "Restarted", detail)
    return trace


def typed(value: Value) -> object:
    """A value that is equal only to values of the same types, and tells 0.0 from -0.0."""
    if isinstance(value, tuple):
        return tuple(map(typed, value))
    return (type(value), repr(value))


@given(values, values)
def test_two_values_have_one_encoding_only_if_they_are_one_value(one: Value, other: Value) -> None:
    assert (encoded(one) == encoded(other)) == (typed(one) == typed(other))


def test_the_digest_is_the_same_in_every_version() -> None:
    """Digests are kept in failure reports: the encoding may not change under one format."""
    trace = trace_of(None, "ä", 1, 0.1, b"\x00", ("a", (1,)))
    assert trace.digest == "9bf929da850d118898e1568fb6f608a42674ffb8d978e9a896f618f78b8d2e1c"


def test_every_part_of_an_entry_is_in_the_digest() -> None:
    digests = set()
    for at, path, incarnation, event in [
        (0.0, "/a", 1, "x"),
        (0.1, "/a", 1, "x"),
        (0.0, "/b", 1, "x"),
        (0.0, "/a", 2, "x"),
        (0.0, "/a", 1, "y"),
    ]:
        trace = Trace(lambda at=at: at)  # type: ignore[misc]
        trace.add(path, incarnation, event)
        digests.add(trace.digest)
    assert len(digests) == 5


@pytest.mark.parametrize("bad", [object(), ["a"], {"a": 1}, {1}, ("a", [1]), ValueError("x")])
def test_anything_but_plain_values_is_refused_and_leaves_no_mark(bad: Value) -> None:
    trace = trace_of("before")
    digest = trace.digest
    with pytest.raises(TypeError, match="name the thing by its id"):
        trace.add("/a", 1, "x", bad)
    assert (len(trace), trace.digest) == (1, digest)


def test_the_text_of_an_object_with_its_address_is_refused() -> None:
    with pytest.raises(TraceError, match="memory address"):
        trace_of(f"failed: {object()!r}")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(TraceError, match="not a finite number"):
        trace_of(bad)


@given(details=st.lists(values, max_size=5))
def test_a_trace_survives_its_file(tmp_path_factory: pytest.TempPathFactory, details: list[Value]) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    trace = trace_of(*details)
    trace.dump(path, {"seed": 7})
    loaded = Trace.load(path)
    assert loaded.digest == trace.digest
    assert first_difference(trace, loaded) is None


def test_the_file_begins_with_a_header(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = trace_of(1, 2)
    trace.dump(path, {"seed": 7})
    header = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert header == {"format": "forebay-trace/1", "digest": trace.digest, "entries": 2, "seed": 7}


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace_of("one", "two").dump(path)
    path.write_text(path.read_text(encoding="utf-8").replace("two", "six"), encoding="utf-8")
    with pytest.raises(TraceError, match="changed or cut"):
        Trace.load(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ('{"format": "forebay-trace/0"}', 1),
        ('{"format": "forebay-trace/1"}\n[1.0, "/a", 1]', 2),
        ('{"format": "forebay-trace/1"}\n[1.0, "/a", 1, "x", {"hex": "zz"}]', 2),
        ('{"format": "forebay-trace/1"}\n[1.0, "/a", 1, "x", {"text": "zz"}]', 2),
    ],
)
def test_a_bad_trace_file_is_told_by_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TraceError, match=rf"trace\.jsonl:{line}: "):
        Trace.load(path)


class TestDifference:
    def test_equal_traces_have_none(self) -> None:
        assert first_difference(trace_of(1, 2), trace_of(1, 2)) is None

    def test_it_shows_the_first_entries_that_differ_after_those_before(self) -> None:
        found = first_difference(trace_of(1, 2, 3, 4), trace_of(1, 2, 3, 5, 6), context=2)
        assert found is not None
        assert found.index == 3
        assert [entry.detail for entry in found.before] == [2, 3]
        assert str(found).splitlines() == [
            "the traces differ from entry 3 on",
            "    1.500000 /relay/jobs#2 Restarted 2",
            "    1.500000 /relay/jobs#2 Restarted 3",
            "  - 1.500000 /relay/jobs#2 Restarted 4",
            "  + 1.500000 /relay/jobs#2 Restarted 5",
        ]

    def test_a_trace_that_ends_early_differs_at_its_end(self) -> None:
        found = first_difference(trace_of(1), trace_of(1, 2))
        assert found is not None
        assert found.left is None
        assert "  - (the end)" in str(found)

    def test_equal_numbers_of_other_types_differ(self) -> None:
        assert first_difference(trace_of(1), trace_of(1.0)) is not None
