"""Parked records into the log again: nothing is lost on the way, and the bytes stay (R6, R10)."""

from contextlib import asynccontextmanager
from random import Random

import pytest
from support.flaky import Faults, Flaky
from support.relay import Term

from forebay.actors.watch.repairs import Repairs
from forebay.backends.clock import SystemClock
from forebay.backends.errors import Unavailable
from forebay.backends.ports import Acks, JobState, NewRecord, ParkedRecord, TopicSpec, Want
from forebay.backends.sqlite.embedded import open_embedded
from forebay.config import TopicConfig
from forebay.jobs import JobPost, Undecodable, decode, encode, encode_again
from forebay.jobs.lanes import retry_mark

RAW = b'{ "a":"</b>&\\/ \\u00e9", "n":9007199254740993, "z":-0,"a":1 }'


class Site:
    """A queue with parked records, a log, and what repairs them."""

    def __init__(self, queue, log, log_faults, term, repairs):
        self.queue, self.log, self.log_faults, self.term, self.repairs = queue, log, log_faults, term, repairs

    async def park(self, value, headers=(), partition=1, error="bad"):
        await self.term.write(lambda offset: ParkedRecord(offset, error, value, headers), partition=partition)

    async def parked(self):
        return list(await self.queue.browse("jobs", JobState.PARKED, 100))

    async def ids(self):
        return [view.id for view in await self.parked()]

    async def submitted(self, partition=1):
        """What is in the log: the jobs, as the relay will read them."""
        connection = await self.log.connect("jobs")
        records = (await connection.fetch({partition: Want(0, 100)}, 0.0)).get(partition, [])
        await connection.close()
        return [decode(r.topic, r.partition, r.offset, r.timestamp, r.value, r.headers) for r in records]


@asynccontextmanager
async def site_in(folder):
    async with open_embedded(folder, SystemClock(), Random(7)) as embedded:
        queue, log = embedded.queue("main"), embedded.log
        await queue.start()
        await log.start()
        await log.ensure([TopicSpec(name, 2, 1e9, 1 << 20) for name in ("jobs", "jobs.retry")])
        faults = Faults(Random(8))
        repairs = Repairs(Flaky(log, faults), {"jobs": queue}, [TopicConfig("jobs", partitions=2)])
        yield Site(queue, log, faults, await Term(queue).begin(), repairs)


@pytest.fixture
async def site(tmp_path):
    async with site_in(tmp_path) as opened:
        yield opened


def refused(id_="mine", **post):
    """A job's record after its last try."""
    value, headers = encode(JobPost(type="t", args=RAW, **post), id_=id_, enqueued_at=5)
    return encode_again(decode("jobs.retry", 1, 0, 9, value, headers), "it broke", 0)


async def test_a_parked_job_is_submitted_as_the_same_instance_with_the_same_bytes(site):
    await site.park(*refused(key="k"), partition=retry_mark(1))
    assert await site.repairs.resubmit("jobs", ["jobs.retry/1/0"]) == (1, {})
    (job,) = await site.submitted()
    assert (job.id, job.args, job.key, job.attempt, job.error, job.enqueued_at) == ("mine", RAW, "k", 0, None, 5)
    assert await site.parked() == []


async def test_many_are_submitted_and_what_would_only_be_parked_again_stays_with_the_reason(site):
    for number in range(25):
        await site.park(*refused(f"j{number}"))
    await site.park(b"{broken")
    ids = await site.ids()
    count, refusals = await site.repairs.resubmit("jobs", [*ids, "jobs/1/99"])
    assert (count, list(refusals)) == (25, ["jobs/1/25"])
    assert "JSON" in refusals["jobs/1/25"]
    assert sorted(job.id for job in await site.submitted()) == sorted(f"j{number}" for number in range(25))
    assert await site.ids() == ["jobs/1/25"]


async def test_a_job_whose_answer_from_the_log_was_lost_stays_parked(site):
    """It may be in the log as well: the same id twice is one job, none is not."""
    await site.park(*refused())
    site.log_faults.lose = 1.0
    with pytest.raises(Unavailable):
        await site.repairs.resubmit("jobs", await site.ids())
    assert await site.ids() == ["jobs/1/0"]
    site.log_faults.heal()
    assert await site.repairs.resubmit("jobs", await site.ids()) == (1, {})
    assert [job.id for job in await site.submitted()] == ["mine", "mine"]


async def test_a_log_that_is_away_takes_nothing_out_of_the_queue(site):
    await site.park(*refused())
    site.log_faults.down = True
    with pytest.raises(Unavailable):
        await site.repairs.resubmit("jobs", await site.ids())
    assert await site.ids() == ["jobs/1/0"]


async def test_a_repaired_record_runs_with_what_was_given(site):
    await site.park(b"\xff{not json")
    (view,) = await site.parked()
    with pytest.raises(Undecodable, match="give both type and args"):
        await site.repairs.repair(view, "t", None)
    assert await site.ids() == ["jobs/1/0"]
    place = await site.repairs.repair(view, "t", RAW)
    assert (place.topic, place.partition, place.offset) == ("jobs", 1, 0)
    (job,) = await site.submitted()
    assert (job.id, job.type, job.args) == ("jobs/1/0", "t", RAW)
    assert await site.parked() == []


@pytest.mark.parametrize("lane", ["jobs", "jobs.retry"])
async def test_what_was_parked_by_its_place_is_read_from_the_log(site, lane):
    value, headers = refused("large")
    await site.log.append([NewRecord(lane, 1, value, headers=headers)], Acks.LEADER)
    await site.park(b"", partition=1 if lane == "jobs" else retry_mark(1))
    (view,) = await site.parked()
    whole = await site.repairs.whole(view)
    assert (whole.args, whole.headers) == (value, headers)
    assert await site.repairs.resubmit("jobs", await site.ids()) == (1, {})
    assert [job.id for job in await site.submitted()][-1] == "large"


async def test_what_the_log_no_longer_has_stays_parked_and_says_so(site):
    await site.park(b"")
    (view,) = await site.parked()
    assert await site.repairs.whole(view) == view
    count, refusals = await site.repairs.resubmit("jobs", [view.id])
    assert (count, refusals) == (0, {view.id: "there are no bytes of it, here or in the log; give both type and args"})
    await site.repairs.repair(view, "t", RAW)
    assert [(job.id, job.args) for job in await site.submitted()] == [("jobs/1/0", RAW)]
