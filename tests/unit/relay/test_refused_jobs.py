"""Jobs that the queue refuses: what the writer does with them, on virtual time (R4, R5, R6, R10)."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest
from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded
from support.peers import settle, standing
from support.relay_tree import run

from forebay.actors.relay.detour import RETRY_AFTER
from forebay.actors.relay.messages import BatchWritten, CutAt, Rewind, Term, Write
from forebay.actors.relay.partition_consumer import read
from forebay.actors.relay.redis_writer import RedisWriter
from forebay.backends.errors import BackendError, JobTooLarge, Unavailable
from forebay.backends.ports import Acks, JobState, ParkedRecord, Record, Token, TopicSpec, Want
from forebay.backends.settled import Settled
from forebay.jobs import JobPost, decode, encode, encode_again
from forebay.scenarios.loop import running_loop

TOKEN = Token(0, 5)
RAW = b'{ "a":"</b>&\\/ \\u00e9", "n":9007199254740993, "z":-0,"a":1 }'


class Picky(Flaky):
    """Refuses a range with one of these ids or values in it, by `error`; all of them while `sick`."""

    def __init__(self, queue):
        super().__init__(queue, Faults(Random(2)))
        self.error = BackendError
        self.refused = set()
        self.sick = False
        self.writes = []

    async def write(self, topic, token, epoch, partition, start, to, items, checkpoint=None, *, begins=True):
        await self.faults.before("write")
        self.writes.append((start, to, len(items)))
        for item in items:
            what = item.value if isinstance(item, ParkedRecord) else item.id
            if what in self.refused:
                raise self.error(f"not {what!r}") if self.error is BackendError else self.error
        if self.sick:
            raise BackendError("sick")
        return await self.port.write(topic, token, epoch, partition, start, to, items, checkpoint, begins=begins)


@asynccontextmanager
async def writing(max_record=1 << 20, retry=True):
    embedded = InlineEmbedded(None, running_loop().clock, Random(1))
    await embedded.start()
    if retry:
        await embedded.log.ensure([TopicSpec("jobs.retry", 2, 1e9, max_record)])
    queue = Picky(embedded.queue())
    log = Flaky(embedded.log, Faults(Random(3)))
    epoch = (await queue.port.plant("jobs", TOKEN)).epoch
    term = Term("jobs", 2, TOKEN, "session", epoch)
    make = lambda: RedisWriter(term=term, queue=queue, log=log, acks=Acks.ALL, topic_lock="/lock")  # noqa: E731
    async with standing(make, "a", "lock") as stand:
        stand.queue, stand.log, stand.epoch = queue, log, epoch
        yield stand
    await embedded.stop()


def record(offset, id_=None, attempt=0, partition=1, topic="jobs", **post):
    value, headers = encode(
        JobPost(type="t", args=post.pop("args", b"1"), **post),
        id_=id_ or f"j{offset}",
        enqueued_at=5,
        headers=(("h", b"\xff"),),
    )
    for _ in range(attempt):
        value, headers = encode_again(decode(topic, partition, offset, 9, value, headers), "before", 0)
    return Record(topic, partition, offset, 9, value, headers=headers)


async def write(stand, *records, partition=1):
    """Let the writer write these records; return its answer."""
    start, to = records[0].offset, records[-1].offset + 1
    items = [read(record) for record in records]
    stand.subject.tell(Write(partition, start, to, items, stand.ref("a"), records, begins=True))
    return await stand.told["a"].get()


async def queued(stand):
    return [view.id for view in await stand.queue.port.browse("jobs", JobState.PENDING, 2000)]


async def parked(stand):
    return await stand.queue.port.browse("jobs", JobState.PARKED, 100)


async def put_back(stand):
    """The retry topic's records of partition 1."""
    connection = await stand.log.port.connect("jobs.retry")
    return (await connection.fetch({1: Want(0, 100)}, 0.0)).get(1, [])


@pytest.mark.parametrize("bad", [[0], [6], [12], [3, 4], [0, 5, 12], list(range(13))])
def test_wherever_it_stands_in_a_batch_a_refused_job_goes_back_alone_and_the_rest_is_written(bad):
    async def main():
        async with writing() as stand:
            stand.queue.refused = {f"j{offset}" for offset in bad}
            assert await write(stand, *(record(offset) for offset in range(13))) == BatchWritten(1, 13)
            assert sorted(await queued(stand)) == sorted(f"j{n}" for n in range(13) if n not in bad)
            assert [dict(r.headers)["forebay-id"].decode() for r in await put_back(stand)] == [f"j{n}" for n in bad]
            assert (await stand.queue.port.marks("jobs", TOKEN))[1].next == 13
            assert [note["offset"] for note in stand.notes("put_back")] == bad
            assert stand.failures() == []

    run(main)


def test_what_goes_back_keeps_its_bytes_and_its_id_and_counts_its_attempts():
    async def main():
        async with writing() as stand:
            stand.queue.refused = {"mine", "jobs/1/1"}
            first = record(0, "mine", args=RAW, dedup="d", key="k", not_before=77)
            raw = Record("jobs", 1, 1, 9, b'{"type": "t", "args": ' + RAW + b"}")
            await write(stand, first, raw)
            again = [decode(r.topic, r.partition, r.offset, r.timestamp, r.value, r.headers) for r in await put_back(stand)]
            assert [(job.id, job.args, job.attempt, job.enqueued_at) for job in again] == [
                ("mine", RAW, 1, 5),
                ("jobs/1/1", RAW, 1, 9),
            ]
            assert (again[0].dedup, again[0].key, again[0].not_before, again[0].headers) == ("d", "k", 77, (("h", b"\xff"),))
            assert "not 'mine'" in again[0].error

    run(main)


def test_a_job_that_has_ended_is_not_put_back_when_the_queue_refuses_it():
    """It came again since the queue forgot; what a snapshot says of it the queue was told (R14)."""

    async def main():
        async with writing() as stand:
            ended = {1: Settled(2, b"\x0a")}
            await stand.queue.port.restore("jobs", TOKEN, stand.epoch, ended)
            stand.queue.refused = {"j4", "j5"}
            assert await write(stand, *(record(offset) for offset in range(2, 8))) == BatchWritten(1, 8)
            assert await queued(stand) == ["j2", "j3", "j7"]
            assert [note["offset"] for note in stand.notes("put_back")] == [5]
            assert len(await put_back(stand)) == 1
            assert (await stand.queue.port.settled("jobs", TOKEN))[1] == Settled(2, b"\x0e")

    run(main)


def test_the_mark_passes_a_refused_job_only_when_the_log_has_it():
    """The invariant no-end-before-write."""

    async def main():
        async with writing() as stand:
            stand.queue.refused = {"j1"}
            stand.log.faults.down = True
            stand.subject.tell(
                Write(
                    1, 0, 3, [read(record(n)) for n in range(3)], stand.ref("a"), [record(n) for n in range(3)], begins=True
                )
            )
            await asyncio.sleep(600)
            assert (await stand.queue.port.marks("jobs", TOKEN))[1].next == 1
            assert len(stand.notes("log_away")) == 1
            stand.log.faults.down = False
            assert await stand.told["a"].get() == BatchWritten(1, 3)
            assert len(await put_back(stand)) == 1
            assert await queued(stand) == ["j0", "j2"]

    run(main)


def test_after_its_tries_a_job_is_parked_as_its_record_is():
    async def main():
        async with writing() as stand:
            stand.queue.refused = {"j0"}
            last = record(0, attempt=len(RETRY_AFTER), args=RAW)
            assert await write(stand, last, record(1)) == BatchWritten(1, 2)
            (view,) = await parked(stand)
            assert (view.args, view.error) == (RAW, "not 'j0'")
            assert await put_back(stand) == []
            (note,) = stand.notes("parked")
            assert (note["records"], note["error"]) == (1, "not 'j0'")

    run(main)


def test_a_job_that_the_queue_can_never_take_is_parked_at_once_by_its_place():
    async def main():
        async with writing() as stand:
            stand.queue.refused = {"j7", b"large"}
            stand.queue.error = JobTooLarge(5, 4, "raise it")
            assert await write(stand, record(7, args=b"large")) == BatchWritten(1, 8)
            (view,) = await parked(stand)
            assert (view.id, view.args) == ("jobs/1/7", b"")
            assert view.error.startswith("its bytes are in the log alone, at jobs/1/7: the job has 5 bytes")
            assert await put_back(stand) == []

    run(main)


@pytest.mark.parametrize("case", ["too large with its headers", "no such topic"])
def test_a_job_that_the_log_does_not_take_back_is_parked(case):
    async def main():
        large = case.startswith("too large")
        async with writing(max_record=300, retry=large) as stand:
            stand.queue.refused = {"j0"}
            assert await write(stand, record(0, args=b'"' + b"x" * (299 if large else 9) + b'"')) == BatchWritten(1, 1)
            (view,) = await parked(stand)
            assert "not 'j0'; and the log refuses it: " in view.error
            assert view.args.startswith(b'"xxxxxxxxx')

    run(main)


def test_a_record_that_is_no_job_and_cannot_be_parked_is_parked_by_its_place():
    async def main():
        async with writing() as stand:
            stand.queue.refused = {b"{broken"}
            broken = Record("jobs", 1, 1, 9, b"{broken")
            assert await write(stand, record(0), broken, record(2)) == BatchWritten(1, 3)
            (view,) = await parked(stand)
            assert (view.id, view.args) == ("jobs/1/1", b"")
            assert "JSON" in view.error
            assert "not b'{broken'" in view.error

    run(main)


def test_a_queue_that_refuses_everything_is_an_outage_and_blames_no_job():
    async def main():
        async with writing() as stand:
            stand.queue.sick = True
            records = [record(n) for n in range(4)]
            stand.subject.tell(Write(1, 0, 4, [read(r) for r in records], stand.ref("a"), records, begins=True))
            await asyncio.sleep(600)
            assert stand.failures() == []
            (note,) = stand.notes("queue_away")
            assert note["why"] == "it refuses every write, also one without jobs: sick"
            stand.queue.sick = False
            assert await stand.told["a"].get() == BatchWritten(1, 4)
            assert await put_back(stand) == []
            assert not await parked(stand)
            assert len(await queued(stand)) == 4

    run(main)


def test_a_queue_that_takes_no_parked_record_either_is_waited_for():
    async def main():
        async with writing() as stand:
            stand.queue.refused = {b"{broken", b""}
            broken = Record("jobs", 1, 0, 9, b"{broken")
            stand.subject.tell(Write(1, 0, 1, [read(broken)], stand.ref("a"), [broken], begins=True))
            await asyncio.sleep(600)
            assert stand.failures() == []
            assert len(stand.notes("queue_away")) == 1
            stand.queue.refused = set()
            assert await stand.told["a"].get() == BatchWritten(1, 1)
            assert len(await parked(stand)) == 1

    run(main)


def test_a_job_that_is_refused_while_another_holds_the_mark_sends_its_consumer_back():
    async def main():
        async with writing() as stand:
            await write(stand, *(record(n) for n in range(5)))
            stand.queue.refused = {"j9"}
            assert await write(stand, record(8), record(9)) == Rewind(1, 5)
            assert await put_back(stand) == []

    run(main)


def test_a_refused_job_holds_up_no_other_partition():
    async def main():
        async with writing() as stand:
            stand.queue.refused = {"j0"}
            stand.log.faults.down = True
            stand.subject.tell(Write(1, 0, 1, [read(record(0))], stand.ref("a"), [record(0)], begins=True))
            await settle()
            assert await write(stand, record(3), partition=0) == BatchWritten(0, 4)

    run(main)


def test_one_refused_job_in_a_thousand_costs_a_few_writes():
    async def main():
        async with writing() as stand:
            stand.queue.refused = {"j500"}
            assert await write(stand, *(record(n) for n in range(1000))) == BatchWritten(1, 1000)
            assert (
                len(stand.queue.writes) <= 3 * 11
            )  # at each of 10 halvings: the refusal, the question whose fault, the rest
            assert len(await queued(stand)) == 999

    run(main)


def test_an_answer_that_was_lost_makes_no_job_a_refused_one():
    async def main():
        async with writing() as stand:
            stand.queue.refused = {"j2"}
            lost = {"left": 5}
            write_through = stand.queue.port.write

            async def lossy(*args, **more):
                written = await write_through(*args, **more)
                if lost["left"]:
                    lost["left"] -= 1
                    raise Unavailable("the answer was lost")
                return written

            stand.queue.port.write = lossy
            assert await write(stand, *(record(n) for n in range(5))) == BatchWritten(1, 5)
            assert await queued(stand) == ["j0", "j1", "j3", "j4"]
            assert len(await put_back(stand)) == 1

    run(main)


def test_what_had_ended_is_asked_once_for_a_range_and_anew_after_its_mark_went_back():
    async def main():
        async with writing() as stand:
            await stand.queue.port.restore("jobs", TOKEN, stand.epoch, {1: Settled(0, b"\x70")})
            stand.queue.refused = {f"j{offset}" for offset in range(8)}
            await write(stand, *(record(offset) for offset in range(4)))
            assert (stand.queue.calls["settled"], len(await put_back(stand))) == (1, 1)
            stand.subject.tell(CutAt(1, 1, stand.ref("a")))
            assert await stand.told["a"].get() == Rewind(1, 1)
            await write(stand, *(record(offset) for offset in range(1, 4)))
            assert (stand.queue.calls["settled"], len(await put_back(stand))) == (2, 4)

    run(main)
