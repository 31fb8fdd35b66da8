"""Dead and parked ones into the log, on virtual time (R14, R6, A6)."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest
from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded
from support.peers import standing

from forebay.actors.relay.ends_writer import BATCH, LOOK, EndsWriter
from forebay.actors.relay.messages import Term, TermRefused
from forebay.actors.watch.ended import newest_ends
from forebay.backends.end_records import WrittenEnd, ends_spec, read_end
from forebay.backends.ports import Acks, Dead, Lease, NewRecord, ParkedRecord, QueuedJob, Record, Token, TopicSpec, Want
from forebay.jobs.lanes import ends_topic, retry_mark
from forebay.scenarios.loop import run as run_virtual
from forebay.scenarios.loop import running_loop

TOKEN = Token(0, 5)
TOPIC = ends_topic("jobs")
SPEC = TopicSpec("jobs", 3, 1e9, 1 << 20)


def run(main):
    run_virtual(main, horizon=10_000.0)


@asynccontextmanager
async def writing(planted=TOKEN, spec=SPEC):
    """The role on a queue that has just been planted, and a log."""
    embedded = InlineEmbedded(None, running_loop().clock, Random(1))
    await embedded.start()
    await embedded.log.ensure([SPEC, *([ends_spec(spec)] if spec else [])])
    queue, log = Flaky(embedded.queue(), Faults(Random(2))), Flaky(embedded.log, Faults(Random(3)))
    epoch = (await queue.port.plant("jobs", planted)).epoch if planted else "none"
    term = Term("jobs", 3, TOKEN, "session", epoch)
    make = lambda: EndsWriter(term=term, queue=queue, log=log, topic_lock="/lock")  # noqa: E731
    async with standing(make, "lock") as stand:
        stand.queue, stand.log, stand.epoch, stand.next = queue, log, epoch, {}
        yield stand
    await embedded.stop()


async def write(stand, *items, partition=0):
    start = stand.next.get(partition, 0)
    stand.next[partition] = start + len(items)
    made = [make(start + n) for n, make in enumerate(items)]
    await stand.queue.port.write("jobs", TOKEN, stand.epoch, partition, start, start + len(items), made)


async def die(stand, error="why"):
    claims = await stand.queue.port.claim("jobs", Lease("w", round(running_loop().time() * 1000) + 1, 1e6), 10_000)
    await stand.queue.port.end("jobs", "w", [Dead(claim.id, claim.epoch, error) for claim in claims])


def job(id_, args=b"{}", headers=()):
    return lambda offset: QueuedJob(offset, id_, "mail", args, headers=headers)


def bad(value, headers=()):
    return lambda offset: ParkedRecord(offset, "no job", value, headers)


async def records(stand):
    """All records of the topic, by partition."""
    connection = await stand.log.port.connect(TOPIC)
    found = await connection.fetch({partition: Want(0, 10_000) for partition in range(3)}, 0.0)
    return {partition: found.get(partition, ()) for partition in range(3)}


async def newest(stand, limit=100):
    return list(await newest_ends(stand.log.port, "jobs", limit))


async def low(stand, partition=0):
    return (await stand.queue.port.settled("jobs", TOKEN))[partition].low


async def looks(times=1):
    await asyncio.sleep(times * LOOK + 0.5)


def test_a_dead_job_and_a_parked_record_are_in_the_log_a_look_later_and_then_settled():
    async def main():
        async with writing() as stand:
            await write(stand, job("a", b"\xff", (("trace", b"1"),)), partition=1)
            await write(stand, bad(b"\x00", (("forebay-type", b"\xfe"), ("forebay-end", b"done"))), partition=retry_mark(2))
            await die(stand)
            assert (await low(stand, 1), await low(stand, retry_mark(2))) == (0, 0)
            await looks()
            assert (await low(stand, 1), await low(stand, retry_mark(2))) == (1, 1)
            found = await records(stand)
            (dead,), (parked,) = found[1], found[2]
            assert (dead.key, dead.value, dead.headers[-1]) == (b"a", b"\xff", ("trace", b"1"))
            at = dead.headers[1][1]
            assert dead.headers[:-1] == (
                ("forebay-end", b"dead"),
                ("forebay-ended-at", at),
                ("forebay-error", b"why"),
                ("forebay-attempts", b"1"),
                ("forebay-offset", b"jobs/1/0"),
                ("forebay-type", b"mail"),
            )
            assert (parked.key, parked.value) == (b"jobs.retry/2/0", b"\x00")
            assert parked.headers[-2:] == (("forebay-type", b"\xfe"), ("forebay-end", b"done"))
            assert read_end(parked) == WrittenEnd(
                "parked", "jobs.retry/2/0", "\\xfe", 0, "no job", "jobs.retry/2/0", int(at), b"\x00"
            )

    run(main)


def test_they_are_written_with_all_the_acks_that_the_log_offers():
    async def main():
        async with writing() as stand:
            asked, offered = [], {Acks.LEADER: "l"}
            append = stand.log.append

            async def watched(taken, acks):
                asked.append(acks)
                return await append(taken, acks)

            stand.log.append = watched
            stand.log.offers = lambda topic: offered if topic == TOPIC else {}
            for _ in range(2):
                await write(stand, bad(b"x"))
                await looks()
                offered[Acks.ALL] = "a"
            assert asked == [Acks.LEADER, Acks.ALL]

    run(main)


def test_one_that_is_too_large_goes_there_by_its_place_and_the_others_whole():
    async def main():
        async with writing(spec=TopicSpec("jobs", 3, 1e9, 3000)) as stand:
            makers = [job(f"j{n}", b"x" * (5000 if n == 3 else 10)) for n in range(8)]
            await write(stand, *makers)
            await die(stand, "e" * 1500)
            await looks()
            assert await low(stand) == 8
            found = {end.id: end for end in await newest(stand)}
            assert {id_: len(end.value) for id_, end in found.items()} == {f"j{n}": 0 if n == 3 else 10 for n in range(8)}
            assert found["j3"].place == "jobs/0/3"
            assert (len(found["j3"].error), len(found["j2"].error)) == (1000, 1500)
            assert stand.failures() == []

    run(main)


def test_many_are_written_at_one_look_in_batches():
    async def main():
        async with writing() as stand:
            await write(stand, *(job(str(n)) for n in range(2 * BATCH + 1)))
            await die(stand)
            await looks()
            assert await low(stand) == 2 * BATCH + 1
            assert stand.log.calls["append"] == 3

    run(main)


def test_nothing_is_written_where_there_is_nothing_and_looking_is_one_call_a_look():
    async def main():
        async with writing() as stand:
            await looks(60)
            assert stand.queue.calls == {"unwritten": 60}
            assert stand.log.calls == {}

    run(main)


@pytest.mark.parametrize("how", ["down", "silent"])
def test_while_the_log_is_away_they_wait_unsettled_and_follow_when_it_is_back(how):
    async def main():
        async with writing() as stand:
            setattr(stand.log.faults, how, True)
            await write(stand, bad(b"x"))
            await looks(120)
            assert await low(stand) == 0
            assert stand.failures() == []
            stand.log.faults.heal()
            await looks(20)
            assert await low(stand) == 1
            assert len(stand.notes("log_away")) == len(stand.notes("log_back")) == 1

    run(main)


def test_answers_that_get_lost_leave_nothing_out():
    async def main():
        async with writing() as stand:
            stand.log.faults.lose = stand.queue.faults.lose = 0.6
            for n in range(20):
                await write(stand, bad(b"%d" % n), partition=n % 3)
                await looks()
            stand.log.faults.heal()
            stand.queue.faults.heal()
            await looks(10)
            assert stand.log.faults.bites
            assert stand.queue.faults.bites
            written = {record.value for found in (await records(stand)).values() for record in found}
            assert written == {b"%d" % n for n in range(20)}
            assert [await low(stand, partition) for partition in range(3)] == [7, 7, 6]

    run(main)


def test_a_log_that_refuses_them_is_noted_and_asked_again():
    async def main():
        async with writing(spec=None) as stand:
            await write(stand, bad(b"x"))
            await looks(2)
            assert [TOPIC in note["why"] for note in stand.notes("ends_refused")] == [True, True]
            await stand.log.port.ensure([ends_spec(SPEC)])
            await looks()
            assert await low(stand) == 1
            assert stand.failures() == []

    run(main)


@pytest.mark.parametrize(("planted", "forgot"), [(Token(0, 6), False), (None, True)])
def test_a_queue_that_refuses_the_term_is_told_to_the_lock(planted, forgot):
    async def main():
        async with writing(planted=planted) as stand:
            told = await stand.told["lock"].get()
            assert isinstance(told, TermRefused)
            assert (told.token, told.forgot) == (TOKEN, forgot)

    run(main)


# reading them


def test_the_newest_are_read_from_all_partitions_the_newest_first():
    async def main():
        async with writing() as stand:
            for n in range(9):
                await write(stand, bad(b"%d" % n), partition=n % 3)
                await looks()
            assert [end.value for end in await newest(stand)] == [b"%d" % n for n in range(8, -1, -1)]
            assert [end.value for end in await newest(stand, 2)] == [b"8", b"7"]

    run(main)


def test_what_is_no_end_is_passed_over():
    async def main():
        async with writing() as stand:
            strange = [NewRecord(TOPIC, 0, b"?"), NewRecord(TOPIC, 0, b"?", headers=(("forebay-attempts", b"many"),))]
            await stand.log.port.append(strange, Acks.ALL)
            await write(stand, bad(b"x"))
            await looks()
            assert [end.value for end in await newest(stand)] == [b"x"]
            assert read_end(Record(TOPIC, 0, 0, 0, b"")) is None

    run(main)
