"""What one job can do to a write on a real Redis, and what it cannot do to its neighbours (R6, R10)."""

import pytest
from support.redis_sites import open_queue, redis_process
from support.relay import Term, job

from forebay.backends.errors import BackendError, Unavailable
from forebay.backends.ports import Lease, Mark

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
