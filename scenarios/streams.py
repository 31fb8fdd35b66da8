"""Chance that can be told again: random streams by name, and the tape of what they drew.

Each stream is seeded by a hash of (seed, name), so one more draw in one stream never shifts
another. Every draw of every stream comes down to one kind, an integer below a bound, and is
written on a tape with its stream's name. A tape can be played back, value by value (strictly, or
as far as it fits): that is how a failing run is repeated and made smaller.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")

TAPE_FORMAT = "forebay-tape/1"
_FLOAT_STEPS = 1 << 53  # as many as a float in [0, 1) has


class Draw(NamedTuple):
    """One draw: `stream` drew `value`, 0 <= value < bound."""

    stream: str
    bound: int
    value: int

    def __str__(self) -> str:
        return f"{self.value} below {self.bound} for {self.stream}"


class TapeError(ValueError):
    """A tape file that cannot be read."""


class Misaligned(RuntimeError):
    """A strict replay asked for a draw that the tape does not hold at this place, or left some
    unasked.
    """


class Tape:
    """The draws of one run, in the order they were made."""

    def __init__(self, draws: Iterable[Draw] = ()) -> None:
        self.draws: list[Draw] = list(draws)

    def __len__(self) -> int:
        return len(self.draws)

    def __iter__(self) -> Iterator[Draw]:
        return iter(self.draws)

    def __eq__(self, other: object) -> bool:
        return self.draws == other.draws if isinstance(other, Tape) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def dump(self, path: Path) -> None:
        """Write JSON lines: a header with the format, then one `[stream, bound, value]` per
        draw.
        """
        with path.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"format": TAPE_FORMAT}) + "\n")
            file.writelines(json.dumps(draw) + "\n" for draw in self.draws)

    @classmethod
    def load(cls, path: Path) -> Tape:
        """Read what `dump` wrote. Raises `TapeError` for anything else, with the line; `OSError`."""
        with path.open(encoding="utf-8", errors="replace") as file:  # what is no text is no draw either
            _parsed(path, 1, file.readline(), _check_header)
            return cls(_parsed(path, number, line, _draw) for number, line in enumerate(file, 2))


class Streams:
    """All chance of one run. `tape` is what was drawn so far.

    With `replay`, values come from that tape. Strict: the draws must be those of the tape, in
    the tape's order, with the same bounds; the first that is not raises `Misaligned`. Not
    strict: each stream reads its own draws of the tape in turn; where there is none left or the
    bound is another, the seed's own draw stands.
    """

    def __init__(self, seed: int, *, replay: Tape | None = None, strict: bool = True) -> None:
        self.seed = seed
        self.tape = Tape()
        self._streams: dict[str, Stream] = {}
        self._source: _Source = _source(replay, strict=strict)

    def stream(self, name: str) -> Stream:
        """The stream of this name: the same one, going on, each time it is asked for."""
        if name not in self._streams:
            self._streams[name] = Stream(self, name)
        return self._streams[name]

    def finish(self) -> None:
        """Say that the run is over. Raises `Misaligned` if a strict replay has draws left that
        nobody asked for.
        """
        self._source.finish()

    def settle(self, name: str, bound: int, own: int) -> int:
        """The value of a draw: `own` (what the seed gives) or the tape's. For `Stream` alone."""
        value = self._source.value(name, bound, own)
        self.tape.draws.append(Draw(name, bound, value))
        return value


class Stream(random.Random):
    """A `random.Random` whose every method comes down to recorded draws below a bound."""

    def __init__(self, streams: Streams, name: str) -> None:
        self._settle = streams.settle
        self._name = name
        super().__init__(derived_seed(streams.seed, name))

    def below(self, bound: int) -> int:
        """Draw 0 <= value < bound, each equally likely."""
        bits = (bound - 1).bit_length()
        value = super().getrandbits(bits)
        while value >= bound:
            value = super().getrandbits(bits)
        return self._settle(self._name, bound, value)

    def random(self) -> float:
        """Draw a float in [0, 1)."""
        return self.below(_FLOAT_STEPS) / _FLOAT_STEPS

    def getrandbits(self, k: int, /) -> int:
        """Draw `k` bits."""
        return self.below(1 << k)

    def _randbelow(self, n: int) -> int:
        """The standard library's hook under randrange, choice, sample and shuffle."""
        return self.below(n)


def derived_seed(seed: int, name: str) -> int:
    """The seed of the stream `name`: blake2b over both."""
    digest = blake2b(f"{seed}\0{name}".encode(), digest_size=32, person=b"forebay-stream")
    return int.from_bytes(digest.digest(), "big")


class _Source:
    """Where values come from: the seed."""

    def value(self, name: str, bound: int, own: int) -> int:  # noqa: ARG002 - for those that read a tape
        return own

    def finish(self) -> None:
        return None


class _StrictReplay(_Source):
    def __init__(self, tape: Tape) -> None:
        self._draws = list(tape)
        self._next = 0

    def value(self, name: str, bound: int, own: int) -> int:  # noqa: ARG002
        place, self._next = self._next, self._next + 1
        if place >= len(self._draws):
            raise Misaligned(f"draw {place}: the tape has ended, but {name!r} draws below {bound}")
        draw = self._draws[place]
        if (draw.stream, draw.bound) != (name, bound):
            raise Misaligned(
                f"draw {place}: the tape has {draw.stream!r} below {draw.bound}, but {name!r} "
                f"draws below {bound}; the code, its configuration or the scenario is not what "
                "was recorded"
            )
        return draw.value

    def finish(self) -> None:
        left = len(self._draws) - self._next
        if left > 0:
            raise Misaligned(f"the run is over, but {left} draws of the tape were never asked for")


class _LooseReplay(_Source):
    def __init__(self, tape: Tape) -> None:
        self._left: defaultdict[str, deque[Draw]] = defaultdict(deque)
        for draw in tape:
            self._left[draw.stream].append(draw)

    def value(self, name: str, bound: int, own: int) -> int:
        left = self._left[name]
        draw = left.popleft() if left else None
        return draw.value if draw is not None and draw.bound == bound else own


def _source(replay: Tape | None, *, strict: bool) -> _Source:
    if replay is None:
        return _Source()
    return _StrictReplay(replay) if strict else _LooseReplay(replay)


def _parsed(path: Path, number: int, line: str, parse: Callable[[object], T]) -> T:
    try:
        return parse(json.loads(line))
    except ValueError as error:
        raise TapeError(f"{path}:{number}: {error}; record the run again") from error


def _check_header(header: object) -> None:
    if not isinstance(header, dict) or header.get("format") != TAPE_FORMAT:
        raise ValueError(f"not a tape of format {TAPE_FORMAT}")


def _draw(row: object) -> Draw:
    match row:
        case [str(stream), int(bound), int(value)] if 0 <= value < bound:
            return Draw(stream, bound, value)
    raise ValueError("not a draw [stream, bound, value] with 0 <= value < bound")
