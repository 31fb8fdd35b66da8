"""A Redis at maxmemory refuses new jobs and still hands out, ends, renews and reaps the ones it has (Q3, Q4)."""

import pytest
from support.clock import ManualClock
from support.redis_sites import open_queue, redis_process
from support.relay import Term, job

from forebay.backends.errors import Full, StaleToken
from forebay.backends.ports import Dead, Done, Lease, Release, Retry, Token


@pytest.fixture
async def clock():
    return ManualClock()


@pytest.fixture
async def queue(tmp_path, clock):
    async with redis_process(tmp_path / "redis", "--maxmemory", "8mb") as server:
        queue = await open_queue(server.url, clock)
        try:
            yield queue
        finally:
            await queue.stop()


async def fill(term):
    """Write until Redis refuses; return how many jobs it took."""
    for count in range(1000):
        try:
            await term.write(*(job(f"j{count}-{n}", args=bytes(2000)) for n in range(50)))
        except Full:
            return count * 50
    raise AssertionError("maxmemory was never reached")


async def test_a_full_redis_is_drained_to_the_last_job_and_then_takes_new_ones(queue, clock):
    term = await Term(queue).begin()
    written = await fill(term)
    assert (await queue.counts("jobs")).pending == written
    assert (await queue.plant("jobs", Token(1, 1))).marks[0].next == written
    first = await queue.claim("jobs", Lease("w", 1, 30), 4)
    kinds = [Done("", 0), Retry("", 0, 5, "e"), Dead("", 0, "e"), Release("", 0)]
    outcomes = [type(kind)(claim.id, claim.epoch, *rest(kind)) for kind, claim in zip(kinds, first, strict=True)]
    assert all(await queue.end("jobs", "w", outcomes))
    assert await queue.resubmit("jobs", [first[2].id]) == 1
    await queue.claim("jobs", Lease("lost", 1, 1), 10)
    clock.advance(10)
    assert (await queue.promote("jobs", 10)).count == 1
    assert (await queue.reap("jobs", 100)).count == 10
    done, sequence = 1, 1
    while claims := await queue.claim("jobs", Lease("w", sequence := sequence + 1, 30), 100):
        await queue.renew("jobs", "w", sequence, 30)
        assert all(await queue.end("jobs", "w", [Done(claim.id, claim.epoch) for claim in claims]))
        done += len(claims)
    assert done == written
    assert await term.mark() == (await queue.plant("jobs", Token(1, 1))).marks[0]
    assert (await term.mark()).settled == written
    assert (await term.write(job("new"))).queued == 1


async def test_in_a_full_redis_a_mark_can_go_back(queue):
    """R4: a log that was cut does not wait for room."""
    term = await Term(queue).begin()
    written = await fill(term)
    await queue.rewind("jobs", term.token, term.epoch, 0, written - 30)
    assert (await term.mark()).next == written - 30


async def test_a_full_redis_counts_the_calls_of_a_term_that_is_over_and_takes_none_of_them(queue):
    """R3: a refusal needs no memory, and whoever looks for two terms at once finds the number."""
    old = await Term(queue).begin()
    written = await fill(old)
    await queue.plant("jobs", Token(1, 2))
    for call in (lambda: old.write(job("late")), lambda: queue.marks("jobs", Token(1, 1)), old.begin):
        with pytest.raises(StaleToken):
            await call()
    assert await queue._connection.command("HGET", "forebay:{jobs}:fence", "refused") == b"3"
    assert (await queue.marks("jobs", Token(1, 2)))[0].next == written


def rest(kind):
    return {Retry: (5, "e"), Dead: ("e",)}.get(type(kind), ())
