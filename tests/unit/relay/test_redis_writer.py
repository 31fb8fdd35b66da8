"""The writer on virtual time: each range once, whatever the queue does (R3, R4, R5)."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import hypothesis.strategies as st
from hypothesis import given
from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded
from support.peers import settle, standing

from forebay.actors.relay.messages import BatchWritten, Rewind, Term, TermRefused, Write
from forebay.actors.relay.redis_writer import MAX_BYTES, MAX_JOBS, RedisWriter, item_size, split
from forebay.backends.errors import Full
from forebay.backends.ports import Acks, JobState, ParkedRecord, QueuedJob, Token
from forebay.scenarios.loop import run, running_loop

TOKEN = Token(0, 5)


@asynccontextmanager
async def writing(token=TOKEN, planted=TOKEN):
    embedded = InlineEmbedded(None, running_loop().clock, Random(1))
    await embedded.start()
    queue = Flaky(embedded.queue(), Faults(Random(2)))
    epoch = (await queue.port.plant("jobs", planted)).epoch if planted else "none"
    term = Term("jobs", 2, token, "session", epoch)
    make = lambda: RedisWriter(term=term, queue=queue, log=embedded.log, acks=Acks.LEADER, topic_lock="/lock")  # noqa: E731
    async with standing(make, "a", "b", "lock") as stand:
        stand.queue = queue
        yield stand
    await embedded.stop()


def jobs(start, to):
    return [QueuedJob(offset, f"j{offset}", "t", b"x") for offset in range(start, to)]


def write(stand, start, to, items=None, partition=0, peer="a"):
    items = jobs(start, to) if items is None else items
    stand.subject.tell(Write(partition, start, to, items, stand.ref(peer), begins=True))


async def count(stand):
    return (await stand.queue.port.counts("jobs")).pending


def test_a_batch_is_written_and_answered_with_the_new_mark():
    async def main():
        async with writing() as stand:
            write(stand, 7, 12)
            assert await stand.told["a"].get() == BatchWritten(0, 12)
            assert (await stand.queue.port.marks("jobs", TOKEN))[0].next == 12
            assert await count(stand) == 5

    run(main)


def test_a_batch_that_does_not_begin_at_the_mark_is_sent_back_there():
    async def main():
        async with writing() as stand:
            write(stand, 0, 3)
            write(stand, 5, 6)
            assert [await stand.told["a"].get() for _ in range(2)] == [BatchWritten(0, 3), Rewind(0, 3)]
            assert await count(stand) == 3

    run(main)


def test_a_write_whose_answer_was_lost_is_repeated_and_counts_once():
    async def main():
        async with writing() as stand:
            stand.queue.faults.lose = 1.0
            write(stand, 0, 3)
            assert await stand.told["a"].get() == BatchWritten(0, 3)
            assert stand.queue.calls["write"] == 2
            assert await count(stand) == 3

    run(main)


def test_an_outage_is_waited_out_however_long_and_noted_once():
    async def main():
        async with writing() as stand:
            stand.queue.faults.down = True
            for partition, peer in ((0, "a"), (1, "b")):
                write(stand, 0, 3, partition=partition, peer=peer)
            await asyncio.sleep(3600)
            assert stand.failures() == []
            stand.queue.faults.down = False
            assert await stand.told["a"].get() == BatchWritten(0, 3)
            assert await stand.told["b"].get() == BatchWritten(1, 3)
            assert len(stand.notes("queue_away")) == len(stand.notes("queue_back")) == 1

    run(main)


def test_a_full_queue_is_an_outage():
    class FullQueue(Flaky):
        full = True

        async def write(self, *args, **more):
            if self.full:
                raise Full("no room")
            return await self.port.write(*args, **more)

    async def main():
        async with writing() as stand:
            stand.queue.__class__ = FullQueue
            write(stand, 0, 3)
            await asyncio.sleep(60)
            assert stand.notes("queue_away") == [{"why": "no room"}]
            stand.queue.full = False
            assert await stand.told["a"].get() == BatchWritten(0, 3)

    run(main)


def test_a_slow_partition_does_not_hold_up_another():
    async def main():
        async with writing() as stand:
            stand.queue.faults.silent = True
            write(stand, 0, 1)
            await settle()
            write(stand, 0, 1, partition=1, peer="b")
            await settle()
            assert stand.queue.calls["write"] == 2
            stand.queue.faults.silent = False
            await stand.told["b"].get()

    run(main)


def test_requests_of_one_partition_keep_their_order():
    async def main():
        async with writing() as stand:
            stand.queue.faults.latency = 1.0
            for start in range(0, 30, 3):
                write(stand, start, start + 3)
            answers = [await stand.told["a"].get() for _ in range(10)]
            assert answers == [BatchWritten(0, to) for to in range(3, 33, 3)]

    run(main)


def test_a_newer_term_is_told_to_the_lock_and_nobody_is_answered():
    async def main():
        async with writing(planted=Token(0, 6)) as stand:
            write(stand, 0, 3)
            write(stand, 0, 3, partition=1)
            refusals = [await stand.told["lock"].get() for _ in range(2)]
            assert {(r.token, r.forgot) for r in refusals} == {(TOKEN, False)}
            await settle()
            assert stand.told["a"].empty()
            assert await count(stand) == 0

    run(main)


def test_a_queue_that_forgot_is_told_to_the_lock():
    async def main():
        async with writing(planted=None) as stand:
            write(stand, 0, 3)
            refusal = await stand.told["lock"].get()
            assert isinstance(refusal, TermRefused)
            assert refusal.forgot
            assert stand.failures() == []

    run(main)


def test_a_large_range_goes_in_several_writes_with_contiguous_marks():
    async def main():
        async with writing() as stand:
            parked = ParkedRecord(MAX_JOBS * 2 + 5, "bad", b"\x00")
            items = [*jobs(2, MAX_JOBS * 2), parked]
            write(stand, 0, MAX_JOBS * 2 + 10, items)
            assert await stand.told["a"].get() == BatchWritten(0, MAX_JOBS * 2 + 10)
            assert stand.queue.calls["write"] == 2
            assert await count(stand) == MAX_JOBS * 2 - 2
            (view,) = await stand.queue.port.browse("jobs", JobState.PARKED, 9)
            assert (view.offset, view.error) == (parked.offset, "bad")

    run(main)


SIZES = st.lists(st.sampled_from([0, 10, 1000, MAX_BYTES // 3, MAX_BYTES, MAX_BYTES + 1]), max_size=12)


@given(SIZES, st.integers(1, 3), st.integers(0, 3), st.booleans())
def test_a_split_keeps_every_item_in_order_within_the_bounds(sizes, step, tail, many):
    items = [QueuedJob(n * step, "i", "t", bytes(size)) for n, size in enumerate(sizes)]
    if many:
        items += [QueuedJob(len(sizes) * step + n, "i", "t", b"") for n in range(MAX_JOBS + 1)]
    to = (items[-1].offset if items else 0) + 1 + tail
    parts = list(split(items, to))
    assert [item for _, part in parts for item in part] == items
    ends = [end for end, _ in parts]
    assert ends[-1] == to
    assert ends == sorted(set(ends))
    begin = 0
    for end, part in parts:
        assert all(begin <= item.offset < end for item in part)
        assert len(part) <= MAX_JOBS
        assert len(part) <= 1 or sum(map(item_size, part)) <= MAX_BYTES
        begin = end


def test_headers_count_towards_the_size():
    assert item_size(QueuedJob(0, "i", "t", b"123", headers=(("ab", b"cd"),))) == 7
    assert item_size(ParkedRecord(0, "e", b"1", (("a", b""),))) == 2
