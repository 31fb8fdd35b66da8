"""The partition consumer, step by step (R4, R6, R10)."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from support.peers import settle, standing
from support.relay_tree import run

from forebay.actors.relay.detour import RETRY_AFTER
from forebay.actors.relay.log_check import LogCheck, checkpoint_of, last_of
from forebay.actors.relay.messages import (
    BatchWritten,
    Locate,
    Located,
    Missed,
    Permits,
    Progress,
    Pull,
    Pulled,
    Rewind,
    Take,
    Term,
    Write,
)
from forebay.actors.relay.partition_consumer import PartitionConsumer, read
from forebay.backends.ports import Extent, ParkedRecord, QueuedJob, Record, Token
from forebay.jobs import JobPost, decode, encode, encode_again
from forebay.jobs.lanes import MAX_PARTITIONS

TERM = Term("jobs", 4, Token(0, 1), "s", "e")


def record(offset, args=b"1", **post):
    value, headers = encode(JobPost(type="t", args=args, **post), id_=f"i{offset}", enqueued_at=5)
    return Record("jobs", 3, offset, 9, value, headers=headers)


class Script:
    """Plays the peers by hand."""

    def __init__(self, stand):
        self.stand = stand
        self.say = stand.subject.tell

    async def hear(self, peer):
        return await self.stand.told[peer].get()

    async def located(self, next_):
        assert isinstance(await self.hear("marks"), Locate)
        self.say(Located(next_))
        return await self.pulled_from()

    async def pulled_from(self):
        pull = await self.hear("connection")
        assert isinstance(pull, Pull)
        assert (pull.partition, pull.max_records) == (3, 10)
        return pull.offset

    async def write_of(self, offset, *records):
        """Give it records; return the write that it makes of them."""
        self.say(Pulled(3, offset, records))
        take = await self.hear("limiter")
        assert take == Take(len(records), self.stand.subject)
        assert self.stand.told["writer"].empty()
        self.say(Permits(take.count))
        return await self.hear("writer")

    async def quiet(self):
        await settle()
        assert all(box.empty() for box in self.stand.told.values())


@asynccontextmanager
async def consuming(retry=False):
    make = lambda: PartitionConsumer(  # noqa: E731
        term=TERM,
        partition=3,
        batch=10,
        rate_limiter="/limiter",
        kafka_connection="/connection",
        redis_writer="/writer",
        settled_marks="/marks",
        retry=retry,
    )
    async with standing(make, "limiter", "connection", "writer", "marks") as stand:
        yield Script(stand)


def test_it_goes_on_from_the_queues_mark_and_moves_batch_after_batch():
    async def main():
        async with consuming() as script:
            assert await script.located(7) == 7
            for start in (7, 9):
                write = await script.write_of(start, record(start), record(start + 1))
                assert (write.partition, write.start, write.to) == (3, start, start + 2)
                assert [item.id for item in write.items] == [f"i{start}", f"i{start + 1}"]
                script.say(BatchWritten(3, start + 2))
                assert await script.hear("connection") == Progress(3, start + 2)
                assert await script.pulled_from() == start + 2

    run(main)


def test_a_partition_that_the_queue_never_saw_begins_with_the_logs_oldest_record():
    async def main():
        async with consuming() as script:
            assert await script.located(None) == 0
            script.say(Missed(3, 0, Extent(40, 90)))
            assert await script.pulled_from() == 40
            assert (await script.write_of(40, record(40))).start == 40
            assert script.stand.notes("expired") == []

    run(main)


def test_a_record_that_the_log_cannot_read_is_parked_by_its_place_and_leaves_no_checkpoint():
    async def main():
        async with consuming() as script:
            await script.located(0)
            lost = Record("jobs", 3, 1, 9, b"", unreadable="no codec")
            write = await script.write_of(0, record(0), lost)
            assert write.to == 2
            assert [type(item) for item in write.items] == [QueuedJob, ParkedRecord]
            assert write.items[1] == ParkedRecord(1, "its bytes are in the log alone, at jobs/3/1: no codec", b"")
            assert last_of(write.records, 1, 2) is None
            assert last_of(write.records, 0, 1) == checkpoint_of(record(0))

    run(main)


def test_a_checkpoint_whose_record_cannot_be_read_any_more_says_nothing():
    check = LogCheck(10, [checkpoint_of(record(4)), checkpoint_of(record(9))], None)
    assert check.saw(Record("jobs", 3, 9, 9, b"", unreadable="no codec")) is None
    assert check.offset == 4
    assert check.saw(record(4)) == 10


def test_one_batch_is_in_hand_at_a_time():
    async def main():
        async with consuming() as script:
            await script.located(0)
            await script.write_of(0, record(0))
            await script.quiet()

    run(main)


def test_answers_to_an_earlier_incarnation_do_nothing():
    async def main():
        async with consuming() as script:
            stale = [
                Pulled(3, 90, [record(90)]),
                Missed(3, 90, Extent(0, 10)),
                Permits(1),
                Permits(3),
                BatchWritten(3, 90),
                Rewind(3, 90),
            ]
            for answer in stale:
                script.say(answer)
            assert await script.located(0) == 0
            for answer in [*stale, Located(5)]:
                script.say(answer)
            await script.quiet()
            script.say(Pulled(3, 0, [record(0), record(1)]))
            await script.hear("limiter")
            for answer in [*stale, Located(5), Pulled(3, 0, [record(0)])]:
                script.say(answer)
            await script.quiet()
            script.say(Permits(2))
            write = await script.hear("writer")
            assert (write.start, write.to) == (0, 2)
            for answer in [Permits(2), BatchWritten(3, 90), Located(5), Pulled(3, 0, [record(0)])]:
                script.say(answer)
            await script.quiet()
            script.say(BatchWritten(3, 2))
            assert await script.hear("connection") == Progress(3, 2)

    run(main)


def test_a_rewind_is_followed():
    async def main():
        async with consuming() as script:
            await script.located(5)
            await script.write_of(5, record(5))
            script.say(Rewind(3, 2))
            assert await script.pulled_from() == 2
            assert script.stand.notes("rewound") == [{"partition": 3, "from_": 5, "to": 2}]

    run(main)


def test_after_a_rewind_no_range_begins_the_partition():
    """M5: the queue had a mark, of a write that was on its way; a failover may still lose that."""

    async def main():
        async with consuming() as script:
            await script.located(None)
            assert (await script.write_of(0, record(0), record(1))).begins
            script.say(Rewind(3, 2))
            assert await script.pulled_from() == 2
            assert not (await script.write_of(2, record(2))).begins

    run(main)


def test_a_record_that_can_never_be_a_job_is_parked_between_its_neighbours():
    async def main():
        async with consuming() as script:
            await script.located(0)
            broken = Record("jobs", 3, 1, 9, b"{not json", headers=(("trace", b"1"),))
            write = await script.write_of(0, record(0), broken, record(2))
            parked = write.items[1]
            assert isinstance(parked, ParkedRecord)
            assert (parked.offset, parked.value, parked.headers) == (1, b"{not json", (("trace", b"1"),))
            assert "JSON" in parked.error
            assert [type(item) for item in write.items] == [QueuedJob, ParkedRecord, QueuedJob]

    run(main)


def test_offsets_that_the_log_removed_are_skipped_and_counted():
    async def main():
        async with consuming() as script:
            await script.located(0)
            write = await script.write_of(0, record(2), record(3), record(6))
            assert (write.start, write.to, len(write.items)) == (0, 7, 3)
            assert script.stand.notes("gap") == [{"partition": 3, "from_": 0, "to": 7, "records": 4}]

    run(main)


def test_what_retention_took_is_skipped_by_a_range_without_jobs_and_counted():
    async def main():
        async with consuming() as script:
            await script.located(10)
            script.say(Missed(3, 10, Extent(25, 90)))
            write = await script.hear("writer")
            assert write == Write(3, 10, 25, (), script.stand.subject, ())
            assert script.stand.notes("expired") == [{"partition": 3, "from_": 10, "to": 25, "records": 15}]
            script.say(BatchWritten(3, 25))
            await script.hear("connection")
            assert await script.pulled_from() == 25

    run(main)


def test_a_log_that_was_cut_is_noted_once_and_waited_for():
    async def main():
        async with consuming() as script:
            await script.located(10)
            for _ in range(5):
                script.say(Missed(3, 10, Extent(0, 4)))
                assert await script.located(10) == 10
            assert script.stand.notes("truncated") == [{"partition": 3, "mark": 10, "end": 4}]
            assert (await script.write_of(10, record(10))).start == 10
            await asyncio.sleep(10)
            await script.quiet()

    run(main)


def test_a_shadow_is_read_and_left_out_of_its_range_and_counted_when_that_is_written():
    """R9: nothing of it reaches the queue, and the mark passes it; what cannot be read is parked all the same."""

    async def main():
        async with consuming() as script:
            await script.located(0)
            broken = Record("jobs", 3, 1, 9, b"{not json", headers=(("forebay-shadow", b"1"),))
            write = await script.write_of(0, record(0, shadow=True), broken, record(2), record(3, shadow=True))
            assert (write.start, write.to) == (0, 4)
            assert [(type(item), item.offset) for item in write.items] == [(ParkedRecord, 1), (QueuedJob, 2)]
            assert script.stand.notes("shadowed") == []
            script.say(BatchWritten(3, 4))
            assert await script.hear("connection") == Progress(3, 4)
            assert script.stand.notes("shadowed") == [{"partition": 3, "records": 2}]

    run(main)


def test_a_range_of_shadows_alone_moves_the_mark_and_takes_its_permits():
    """R9: the rate is that of a live run."""

    async def main():
        async with consuming() as script:
            await script.located(5)
            write = await script.write_of(5, record(5, shadow=True), record(6, shadow=True))
            assert (write.start, write.to, list(write.items)) == (5, 7, [])

    run(main)


def back(offset, attempt, at, **post):
    """A record of the retry topic that the log took at `at` seconds."""
    first = record(offset, **post)
    job = decode("jobs", 3, offset, 9, first.value, first.headers)
    value, headers = encode_again(replace(job, attempt=attempt - 1), "it broke", job.not_before)
    return Record("jobs.retry", 3, offset, int(at * 1000), value, headers=headers)


async def wall(script):
    return script.stand.runtime.system.clock.wall() / 1000


@pytest.mark.parametrize("attempt", range(1, len(RETRY_AFTER) + 1))
def test_a_job_of_the_retry_lane_waits_for_its_time(attempt):
    """R6: what may pass gets time to pass; the marks of the lane are its own."""

    async def main():
        async with consuming(retry=True) as script:
            begun = await wall(script)
            located = await script.hear("marks")
            assert located.partition == MAX_PARTITIONS + 3
            script.say(Located(0))
            assert await script.pulled_from() == 0
            script.say(Pulled(3, 0, [back(0, attempt, begun)]))
            assert await script.pulled_from() == 0
            assert await wall(script) - begun == pytest.approx(RETRY_AFTER[attempt - 1], abs=0.01)
            write = await script.write_of(0, back(0, attempt, begun))
            assert (write.partition, write.start, write.to) == (MAX_PARTITIONS + 3, 0, 1)
            script.say(BatchWritten(MAX_PARTITIONS + 3, 1))
            assert await script.hear("connection") == Progress(3, 1)

    run(main)


def test_those_of_the_retry_lane_whose_time_has_come_go_before_one_whose_time_has_not():
    async def main():
        async with consuming(retry=True) as script:
            await script.hear("marks")
            script.say(Located(0))
            await script.hear("connection")
            now = await wall(script)
            broken = Record("jobs.retry", 3, 1, int(now * 1000), b"{not json")
            script.say(Pulled(3, 0, [back(0, 1, now - 1), broken, back(2, 2, now - 1), back(3, 1, now - 9)]))
            assert await script.hear("limiter") == Take(2, script.stand.subject)
            script.say(Permits(2))
            write = await script.hear("writer")
            assert (write.start, write.to, len(write.items)) == (0, 2, 2)

    run(main)


@pytest.mark.parametrize("ahead", [-86_400, 86_400])
def test_a_clock_that_is_wrong_makes_a_wait_neither_longer_nor_shorter(ahead):
    """R6: by a clock that is ahead a job would have used up its tries at once, by one that is behind it would wait on."""

    async def main():
        async with consuming(retry=True) as script:
            await script.hear("marks")
            script.say(Located(0))
            await script.hear("connection")
            now = await wall(script)
            taken = back(0, 1, now - ahead)
            script.say(Pulled(3, 0, [taken]))
            assert await script.pulled_from() == 0
            assert await wall(script) - now == pytest.approx(RETRY_AFTER[0], abs=0.01)
            await script.write_of(0, taken)

    run(main)


def test_a_job_that_is_to_run_much_later_does_not_wait_in_the_retry_lane_for_that():
    async def main():
        async with consuming(retry=True) as script:
            await script.hear("marks")
            script.say(Located(0))
            await script.hear("connection")
            now = await wall(script)
            later = int(now * 1000) + 86_400_000
            script.say(Pulled(3, 0, [back(0, 1, now, not_before=later)]))
            assert await script.pulled_from() == 0
            write = await script.write_of(0, back(0, 1, now, not_before=later))
            assert write.items[0].not_before == later

    run(main)


def test_a_job_keeps_its_bytes_times_and_names():
    raw = b'{"a": 9007199254740993, "b": "\\u003c<", "a": -0}'
    job = read(record(8, raw, not_before=1_800_000_000_000, dedup="d"))
    assert isinstance(job, QueuedJob)
    assert (job.args, job.id, job.type, job.offset) == (raw, "i8", "t", 8)
    assert (job.enqueued_at, job.not_before, job.dedup, job.headers) == (5, 1_800_000_000_000, "d", ())
