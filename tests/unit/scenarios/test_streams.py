"""Named random streams and their tape."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.scenarios.streams import Draw, Misaligned, Streams, Tape, TapeError

Use = Callable[[random.Random], object]

USES: list[Use] = [
    lambda stream: stream.random(),
    lambda stream: stream.uniform(1, 9),
    lambda stream: stream.randrange(7),
    lambda stream: stream.choice("abc"),
    lambda stream: stream.shuffle(list(range(9))),
    lambda stream: stream.getrandbits(80),
    lambda stream: stream.expovariate(3),
    lambda stream: stream.gauss(0, 1),
    lambda stream: stream.sample(range(100), 5),
]

programs = st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(USES)), max_size=30)


def play(streams: Streams, program: list[tuple[str, Use]]) -> list[object]:
    return [use(streams.stream(name)) for name, use in program]


def test_a_stream_is_told_by_seed_and_name_alone() -> None:
    """The numbers are part of every recorded seed: they may not change between versions."""
    assert Streams(1).stream("a").getrandbits(64) == 6184234050831314675
    assert Streams(1).stream("a").random() != Streams(2).stream("a").random()
    assert Streams(1).stream("a").random() != Streams(1).stream("b").random()


def test_the_same_name_goes_on_where_it_was() -> None:
    streams = Streams(1)
    twice = [streams.stream("a").random(), streams.stream("a").random()]
    again = Streams(1).stream("a")
    assert twice == [again.random(), again.random()]


@given(seed=st.integers(), program=programs)
def test_draws_in_one_stream_never_shift_another(seed: int, program: list[tuple[str, Use]]) -> None:
    alone = play(Streams(seed), [step for step in program if step[0] == "B"])
    mixed = play(Streams(seed), program)
    assert [got for (name, _), got in zip(program, mixed, strict=True) if name == "B"] == alone


@given(seed=st.integers(), program=programs)
def test_a_strict_replay_gives_the_same_values_under_any_seed(seed: int, program: list[tuple[str, Use]]) -> None:
    recorded = Streams(seed)
    values = play(recorded, program)
    replayed = Streams(seed + 1, replay=recorded.tape)
    assert play(replayed, program) == values
    assert replayed.tape == recorded.tape
    replayed.finish()


@given(seed=st.integers(), program=programs, extra=st.sampled_from("AB"))
def test_a_strict_replay_stops_at_the_first_draw_too_many(seed: int, program: list[tuple[str, Use]], extra: str) -> None:
    recorded = Streams(seed)
    play(recorded, program)
    replayed = Streams(seed, replay=recorded.tape)
    play(replayed, program)
    with pytest.raises(Misaligned, match="the tape has ended"):
        replayed.stream(extra).random()


def test_a_strict_replay_stops_at_a_draw_of_another_stream_or_bound() -> None:
    tape = Tape([Draw("a", 10, 3)])
    with pytest.raises(Misaligned, match="draw 0: the tape has 'a' below 10, but 'b' draws"):
        Streams(1, replay=tape).stream("b").randrange(10)
    with pytest.raises(Misaligned, match="but 'a' draws below 11"):
        Streams(1, replay=tape).stream("a").randrange(11)


def test_a_strict_replay_that_ends_early_says_so() -> None:
    with pytest.raises(Misaligned, match="1 draws of the tape were never asked for"):
        Streams(1, replay=Tape([Draw("a", 10, 3)])).finish()


def test_a_loose_replay_takes_what_fits_and_the_seed_for_the_rest() -> None:
    own = Streams(1).stream("a")
    seeded = [own.randrange(1000) for _ in range(3)]
    tape = Tape([Draw("b", 9, 4), Draw("a", 1000, 77), Draw("a", 5, 2)])
    loose = Streams(1, replay=tape, strict=False)
    assert [loose.stream("a").randrange(1000) for _ in range(3)] == [77, *seeded[1:]]
    assert loose.stream("b").randrange(9) == 4
    loose.finish()


def test_bounded_draws_are_even() -> None:
    stream = Streams(3).stream("dice")
    counts = Counter(stream.randrange(6) for _ in range(60_000))
    assert all(abs(counts[face] - 10_000) < 500 for face in range(6))  # five standard deviations


def test_a_tape_survives_its_file(tmp_path: Path) -> None:
    streams = Streams(1)
    for use in USES:
        use(streams.stream("ä\n"))
    streams.tape.dump(tmp_path / "tape.jsonl")
    assert Tape.load(tmp_path / "tape.jsonl") == streams.tape


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("no json\n", 1),
        ('{"format": "forebay-tape/0"}\n', 1),
        ('{"format": "forebay-tape/1"}\n["a", 5, 5]\n', 2),
        ('{"format": "forebay-tape/1"}\n["a", 5, 1]\n["a", 5', 3),
    ],
)
def test_a_bad_tape_file_is_told_by_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "tape.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TapeError, match=rf"tape\.jsonl:{line}: "):
        Tape.load(path)
