"""How long until retention would take a job that has not ended, on virtual time (R15)."""

import asyncio
from contextlib import asynccontextmanager
from io import StringIO
from random import Random

import pytest
from rich.console import Console
from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded
from support.peers import standing
from support.relay import Term as QueueTerm
from support.relay import job

from forebay.actors.relay.messages import Term
from forebay.actors.relay.retention_watch import INTERVAL, RetentionWatch, _span
from forebay.actors.snapshot import from_plain, to_plain
from forebay.actors.watch.tree_view import tree_view
from forebay.backends.ports import Acks, Done, Lease, NewRecord, TopicSpec
from forebay.scenarios.loop import run, running_loop

RETENTION = 1000.0


@asynccontextmanager
async def watching():
    embedded = InlineEmbedded(None, running_loop().clock, Random(1))
    await embedded.start()
    await embedded.log.ensure([TopicSpec("jobs", 3, RETENTION, 1 << 20)])
    queue = embedded.queue()
    written = await QueueTerm(queue).begin()
    term = Term("jobs", 3, written.token, "session", written.epoch)
    log = Flaky(embedded.log, Faults(Random(1)))
    async with standing(lambda: RetentionWatch(term=term, queue=queue, log=log, retention=RETENTION)) as stand:
        stand.log, stand.queue, stand.term = log, queue, written
        yield stand
    await embedded.stop()


async def append(stand, partition=0):
    await stand.log.port.append([NewRecord("jobs", partition, b"v")], Acks.ALL)


async def look(stand):
    """What the next look says is left (seconds)."""
    before = len(stand.notes("retention_left"))
    await asyncio.sleep(INTERVAL)
    await asyncio.sleep(0.5)
    notes = stand.notes("retention_left")
    assert len(notes) == before + 1
    return notes[-1]["seconds"]


def test_with_nothing_waiting_all_of_the_retention_is_left():
    async def main():
        async with watching() as stand:
            assert await look(stand) == RETENTION
            assert stand.notes("retention_left") == [{"topic": "jobs", "seconds": RETENTION}]

    run(main)


def test_it_is_counted_from_the_oldest_record_whose_job_has_not_ended_in_the_queue_or_still_in_the_log():
    async def main():
        async with watching() as stand:
            await append(stand)
            await stand.term.write(job("a"))
            await asyncio.sleep(INTERVAL - 10)
            await append(stand, partition=2)
            assert 930 <= await look(stand) <= RETENTION - INTERVAL + 10
            (claim,) = await stand.queue.claim("jobs", Lease("w", 1, 1e6), 10)
            first = await look(stand)
            await stand.queue.end("jobs", "w", [Done("a", claim.epoch)])
            second = await look(stand)  # of partition 2, which no relay has reached
            assert second > first - INTERVAL

    run(main)


def test_the_tree_shows_the_newest_figure_until_the_watch_ends():
    async def main():
        async with watching() as stand:

            def shown():
                return stand.runtime.tree().find("/subject").shown

            assert shown() is None
            await look(stand)
            assert shown() == "all in the log has ended"
            await append(stand)
            await stand.term.write(job("a"))
            left = await look(stand)
            assert shown() == f"{int(left) // 60}m {int(left) % 60}s until retention may delete a job"
            drawn = StringIO()
            Console(file=drawn, width=200).print(tree_view(from_plain(to_plain(stand.runtime.tree()))))
            assert f"subject  running  {shown()}" in drawn.getvalue()
            stand.runtime.inject("/subject", RuntimeError("again"))
            await asyncio.sleep(1)
            assert shown() is None

    run(main)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.9, "59s"), (61, "1m 1s"), (3600, "1h 0m"), (90_000, "1d 1h"), (604_799, "6d 23h")]
)
def test_a_time_is_shown_by_its_two_largest_units(seconds, text):
    assert _span(seconds) == text


def test_little_time_left_is_an_alert_said_once_and_taken_back():
    async def main():
        async with watching() as stand:
            await append(stand)
            await stand.term.write(job("a"))
            while (left := await look(stand)) >= RETENTION / 10:
                assert stand.notes("retention_near") == []
            (near,) = stand.notes("retention_near")
            assert (near["partition"], near["offset"], near["seconds"]) == (0, 0, left)
            (claim,) = await stand.queue.claim("jobs", Lease("w", 1, 1e6), 10)
            await stand.queue.end("jobs", "w", [Done("a", claim.epoch)])
            assert await look(stand) == RETENTION
            assert stand.notes("retention_far") == [{"seconds": RETENTION}]
            assert len(stand.notes("retention_near")) == 1

    run(main)


def test_a_log_that_is_away_fails_nobody_and_is_looked_at_again():
    async def main():
        async with watching() as stand:
            stand.log.faults.down = True
            await asyncio.sleep(5.5 * INTERVAL)
            assert stand.notes("retention_left") == []
            stand.log.faults.down = False
            assert await look(stand) == RETENTION
            assert stand.failures() == []

    run(main)
