"""Plays random trees, seed by seed, and prints each trace's digest: `python -m support.replayed_trees FIRST COUNT HEAP`.

HEAP is the seed of an allocation history that this process has before it begins.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from random import Random
from typing import TypeVar

from support.supervision import Stage
from support.supervision_programs import Author

from forebay.scenarios import loop as virtual
from forebay.scenarios.trace import Trace

T = TypeVar("T")


class SeededAuthor(Author):
    """Draws from a `Random` where the machine draws from hypothesis."""

    def __init__(self, random: Random) -> None:
        super().__init__(None)
        self._random = random

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def one_of(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)

    def chance(self, percent: int) -> bool:
        return self._random.randrange(100) < percent


def digest(seed: int, schedule: int) -> str:
    """The digest of the tree and program of `seed`, under the virtual loop's streams of `schedule`."""
    program = SeededAuthor(Random(seed)).program()

    async def play() -> str:
        loop = virtual.running_loop()
        trace = Trace(loop.time)
        await Stage(program, trace, loop.streams.stream).play()
        return trace.digest

    return virtual.run(play, seed=schedule)


def shake_the_heap(seed: int) -> list[bytearray]:
    """Leave holes of many sizes, so that new objects get addresses out of order."""
    order = Random(seed)
    blocks = [bytearray(order.randrange(16, 900)) for _ in range(20_000)]
    order.shuffle(blocks)
    return blocks[:10_000]


def main(first: int, count: int, heap: int) -> None:
    kept = shake_the_heap(heap)
    for seed in range(first, first + count):
        print(digest(seed, seed))
    del kept


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
