"""What one job can do to a write on a real Redis, and what it cannot do to its neighbours (R6, R10)."""

import pytest
from support.redis_sites import open_queue, redis_process
from support.relay import Term, job

from forebay.backends.errors import BackendError, JobTooLarge, Unavailable
from forebay.backends.ports import Lease, Mark
from forebay.backends.redis import codec

SMALLEST = 2**20  # bytes: the least that Redis lets `proto-max-bulk-len` be


@pytest.fixture
async def queue(tmp_path):
    async with redis_process(tmp_path / "redis") as server:
        queue = await open_queue(server.url)
        try:
            yield queue
        finally:
            await queue.stop()


async def spoil(queue, dedup):
    """Let the queue know the first of a dedup id, and not the job: the script breaks off at the next one with that id."""
    await queue._connection.command("HSET", "forebay:{jobs}:firsts", f"={dedup}", "ghost")


async def test_a_script_that_breaks_off_at_one_job_has_passed_none(queue):
    """R4, R6: Redis undoes nothing, so the mark moves last and what was written before the error is known by its id."""
    term = await Term(queue).begin()
    await term.write(job("before"))
    await spoil(queue, "d")
    items = (job("a"), job("poison", dedup="d"), job("b"))
    with pytest.raises(BackendError, match="script") as error:
        await term.write(*items)
    assert not isinstance(error.value, Unavailable)
    assert await term.mark() == Mark(1, 0)
    await term.write(items[0])
    await term.write(to=3)
    await term.write(items[2])
    assert await term.mark() == Mark(4, 0)
    claims = await queue.claim("jobs", Lease("w", 1, 30), 10)
    assert sorted(claim.id for claim in claims) == ["a", "b", "before"]


async def test_a_job_that_a_broken_off_script_left_is_not_settled_before_it_ends(queue):
    """R14: the settled mark must not pass a job that is written again from its own place."""
    term = await Term(queue).begin()
    await spoil(queue, "d")
    with pytest.raises(BackendError):
        await term.write(job("a"), job("poison", dedup="d"))
    await term.write(job("a"))
    assert await term.mark() == Mark(1, 0)


@pytest.mark.parametrize("setting", ["proto-max-bulk-len", "maxmemory"])
async def test_a_job_that_this_redis_can_never_take_is_an_error_and_not_an_outage(queue, setting):
    """R6: Redis cuts the connection, or is full for ever; either would be waited out for ever."""
    term = await Term(queue).begin()
    limit = {"proto-max-bulk-len": SMALLEST, "maxmemory": 4 * SMALLEST}[setting]
    await queue._connection.command("CONFIG", "SET", setting, limit)
    for size in (5 * SMALLEST, 2 * SMALLEST + 1):
        with pytest.raises(JobTooLarge, match=f"raise {setting} at redis://"):
            await term.write(job("small"), job("large", args=bytes(size)))
    assert await queue.marks("jobs", term.token) == {}
    await queue._connection.command("CONFIG", "SET", setting, 64 * SMALLEST)
    assert (await term.write(job("large", args=bytes(5 * SMALLEST)))).queued == 1


async def test_the_largest_job_that_redis_takes_is_taken(queue):
    """R6: no job is called too large that would have passed."""
    term = await Term(queue).begin()
    await queue._connection.command("CONFIG", "SET", "proto-max-bulk-len", SMALLEST)
    overhead = len(codec.pack(codec.Body("test", 0, (), bytes(SMALLEST)))) - SMALLEST
    assert (await term.write(job("large", args=bytes(SMALLEST - overhead)))).queued == 1
    await queue._connection.command("CONFIG", "SET", "proto-max-bulk-len", 2 * SMALLEST)
    assert (await term.write(job("larger", args=bytes(2 * SMALLEST - overhead)))).queued == 1


async def test_where_settings_cannot_be_read_the_usual_limit_holds(queue):
    """R6: a Redis that keeps CONFIG from us takes large jobs all the same."""
    term = await Term(queue).begin()
    await queue._connection.command("ACL", "SETUSER", "default", "-config")
    assert (await term.write(job("large", args=bytes(5 * SMALLEST)))).queued == 1
