"""The rate limiter on virtual time (R7)."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest
from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded
from support.peers import settle, standing

from forebay.actors.limits import limit_key
from forebay.actors.relay.messages import Permits, Take
from forebay.actors.relay.rate_limiter import RateLimiter
from forebay.scenarios.loop import run, running_loop

KEY = limit_key("jobs")


@asynccontextmanager
async def limiting(rate=10.0, burst=10, limit=None, down=False):
    embedded = InlineEmbedded(None, running_loop().clock, Random(1))
    await embedded.start()
    coordination = Flaky(embedded.coordination, Faults(Random(2)))
    coordination.faults.down = down
    if limit is not None:
        await embedded.coordination.put(KEY, limit)
    make = lambda: RateLimiter(topic="jobs", rate=rate, burst=burst, coordination=coordination)  # noqa: E731
    async with standing(make, "a", "b") as stand:
        stand.coordination, stand.put = coordination, embedded.coordination.put
        stand.delete = embedded.coordination.delete
        await settle()
        yield stand
    await embedded.stop()


async def take(stand, count, peer="a"):
    """How long (seconds) a peer waits for permits."""
    begin = running_loop().time()
    stand.subject.tell(Take(count, stand.ref(peer)))
    assert await stand.told[peer].get() == Permits(count)
    return running_loop().time() - begin


def test_permits_flow_at_the_configured_rate():
    async def main():
        async with limiting(rate=10.0, burst=10) as stand:
            waits = [await take(stand, 10) for _ in range(5)]
            assert sum(waits) == pytest.approx(5.0, abs=0.01)

    run(main)


def test_who_came_first_is_served_first_even_if_he_wants_more():
    async def main():
        async with limiting() as stand:
            stand.subject.tell(Take(10, stand.ref("a")))
            stand.subject.tell(Take(1, stand.ref("b")))
            await asyncio.sleep(0.9)
            assert stand.told["b"].empty()
            await asyncio.sleep(0.15)
            assert stand.told["a"].get_nowait() == Permits(10)
            assert stand.told["b"].empty()
            await stand.told["b"].get()

    run(main)


def test_the_limit_in_coordination_goes_before_the_configured_one():
    async def main():
        async with limiting(rate=10.0, burst=100, limit=b"1000/s") as stand:
            assert await take(stand, 100) == pytest.approx(0.1, abs=0.01)

    run(main)


@pytest.mark.parametrize("pause", [b"0", b"pause", b" pause\n", b"0/s"])
def test_a_pause_and_a_resume_take_effect_at_once(pause):
    async def main():
        async with limiting() as stand:
            await stand.put(KEY, pause)
            await settle()
            stand.subject.tell(Take(1, stand.ref("a")))
            await asyncio.sleep(3600)
            assert stand.told["a"].empty()
            await stand.put(KEY, b"1000/s")
            await asyncio.sleep(0.1)
            assert stand.told["a"].get_nowait() == Permits(1)

    run(main)


def test_a_change_reaches_who_waits_already():
    async def main():
        async with limiting(rate=0.01) as stand:
            stand.subject.tell(Take(5, stand.ref("a")))
            await settle()
            await stand.put(KEY, b"100/s")
            await asyncio.sleep(0.1)
            assert stand.told["a"].get_nowait() == Permits(5)

    run(main)


def test_a_removed_limit_brings_the_configured_one_back():
    async def main():
        async with limiting(rate=10.0, limit=b"pause") as stand:
            await stand.delete(KEY)
            await settle()
            assert await take(stand, 10) == pytest.approx(1.0, abs=0.01)
            assert [n["source"] for n in stand.notes("limit_set")] == [KEY, "config"]

    run(main)


@pytest.mark.parametrize("value", [b"fast", b"5000", b"-1/s", b"\xff", b""])
def test_a_value_that_is_no_limit_is_noted_and_the_last_known_stays(value):
    async def main():
        async with limiting(rate=10.0, burst=100, limit=b"1000/s") as stand:
            await stand.put(KEY, value)
            await settle()
            assert await take(stand, 100) == pytest.approx(0.1, abs=0.01)
            (note,) = stand.notes("limit_invalid")
            assert note["key"] == KEY
            assert "5000/s" in note["advice"]

    run(main)


def test_nothing_is_granted_before_coordination_was_seen():
    async def main():
        async with limiting(limit=b"pause", down=True) as stand:
            stand.subject.tell(Take(1, stand.ref("a")))
            await asyncio.sleep(60)
            assert stand.told["a"].empty()
            await stand.put(KEY, b"100/s")
            stand.coordination.faults.down = False
            assert await stand.told["a"].get() == Permits(1)
            assert len(stand.notes("coordination_away")) == len(stand.notes("coordination_back")) == 1

    run(main)


def test_while_coordination_is_away_the_last_known_limit_stays():
    async def main():
        async with limiting(rate=10.0, burst=100, limit=b"1000/s") as stand:
            stand.coordination.faults.down = True
            await stand.put(KEY, b"1/s")
            await asyncio.sleep(30)
            assert await take(stand, 100) < 0.01
            assert await take(stand, 100) == pytest.approx(0.1, abs=0.01)
            stand.coordination.faults.down = False
            await asyncio.sleep(3)
            assert stand.notes("limit_set")[-1]["rate"] == "1/s"

    run(main)


def test_without_coordination_or_rate_there_is_no_limit():
    async def main():
        make = lambda: RateLimiter(topic="jobs", rate=None, burst=1, coordination=None)  # noqa: E731
        async with standing(make, "a") as stand:
            assert [await take(stand, 10**6) for _ in range(3)] == [0, 0, 0]

    run(main)
