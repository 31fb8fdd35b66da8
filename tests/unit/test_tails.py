"""Reading the last records of partitions of a log that changes meanwhile."""

import asyncio

import pytest

from forebay.backends.errors import Unavailable
from forebay.backends.ports import Extent, OutOfRange, Record
from forebay.backends.tails import tails


class Partition:
    """A partition that holds the offsets of `extent`; `then`: what it holds afterwards, fetch by fetch."""

    def __init__(self, start, end, *then):
        self.extent, self.then = Extent(start, end), list(then)

    def read(self, want):
        extent = self.extent
        if self.then:
            self.extent = self.then.pop(0)
        if not extent.start <= want.offset <= extent.end:
            return OutOfRange(extent)
        offsets = range(want.offset, min(want.offset + 3, extent.end))
        return [Record("t", 0, offset, 0, b"") for offset in offsets]


class Connection:
    held_up = {}

    def __init__(self, partitions):
        self.partitions, self.fetches = partitions, 0

    async def fetch(self, wants, wait):
        self.fetches += 1
        assert self.fetches < 50, "it goes on for ever"
        answers = {number: self.partitions[number].read(want) for number, want in wants.items()}
        return {number: found for number, found in answers.items() if found}


def read(limit, **partitions):
    """The offsets that come of each partition, in the order in which they come."""
    connection = Connection({int(name[1:]): one for name, one in partitions.items()})
    found = {}

    async def main():
        extents = {number: one.extent for number, one in connection.partitions.items()}
        for one in connection.partitions.values():
            if one.then:
                one.extent = one.then.pop(0)
        async for number, records in tails(connection, extents, limit):
            found.setdefault(number, []).extend(record.offset for record in records)

    asyncio.run(main())
    return found


def test_the_last_of_every_partition_come_in_order_and_nothing_of_an_empty_one():
    assert read(5, p0=Partition(0, 100), p1=Partition(8, 10), p2=Partition(7, 7)) == {
        0: [95, 96, 97, 98, 99],
        1: [8, 9],
    }


def test_it_ends_however_fast_the_log_grows():
    growing = [Extent(0, 10 + 10 * turn) for turn in range(60)]
    assert read(4, p0=Partition(0, 10, *growing)) == {0: [6, 7, 8, 9, 10, 11]}


def test_where_retention_was_quicker_what_is_left_is_read():
    assert read(8, p0=Partition(0, 10, Extent(7, 12))) == {0: [7, 8, 9]}
    assert read(8, p0=Partition(0, 10, Extent(30, 40))) == {}


def test_what_is_held_up_is_said_when_the_others_have_been_read():
    damaged = Partition(0, 2)
    damaged.read = lambda want: []
    connection = Connection({0: Partition(0, 2), 1: damaged})
    connection.held_up = {1: "a damaged segment"}
    found = []

    async def main():
        async for number, records in tails(connection, {number: Extent(0, 2) for number in range(2)}, 4):
            found.extend((number, record.offset) for record in records)

    with pytest.raises(Unavailable, match="a damaged segment"):
        asyncio.run(main())
    assert found == [(0, 0), (0, 1)]


def test_where_the_log_was_cut_the_last_of_what_is_left_is_read():
    assert read(4, p0=Partition(0, 100, Extent(0, 20))) == {0: [16, 17, 18, 19]}


@pytest.mark.parametrize("limit", [1, 4])
def test_a_position_that_is_denied_though_the_log_says_that_it_holds_it_is_given_up(limit):
    partition = Partition(0, 10)
    partition.read = lambda want: OutOfRange(Extent(0, 10))
    assert read(limit, p0=partition, p1=Partition(0, 2)) == {1: [1] if limit == 1 else [0, 1]}
