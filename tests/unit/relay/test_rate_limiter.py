"""The rate limiter on virtual time (R7, R8)."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest
from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded
from support.peers import settle, standing

from forebay.actors.limits import limit_key
from forebay.actors.relay.headroom import FULL_RATE, LOOK, LOOK_CLOSELY, STOP, next_look
from forebay.actors.relay.messages import Permits, Take
from forebay.actors.relay.rate_limiter import RateLimiter
from forebay.scenarios.loop import run as run_virtual
from forebay.scenarios.loop import running_loop

KEY = limit_key("jobs")


def run(main):
    run_virtual(main, horizon=10_000.0)


class RoomyQueue(Flaky):
    """Tells of as much room as a test says."""

    def __init__(self, queue, room):
        super().__init__(queue, Faults(Random(4)))
        self.room = room

    async def headroom(self):
        self.calls["headroom"] = self.calls.get("headroom", 0) + 1
        await self.faults.before("headroom")
        return self.room


@asynccontextmanager
async def limiting(rate=10.0, burst=10, limit=None, down=False, room=1.0):
    embedded = InlineEmbedded(None, running_loop().clock, Random(1))
    await embedded.start()
    coordination = Flaky(embedded.coordination, Faults(Random(2)))
    coordination.faults.down = down
    if limit is not None:
        await embedded.coordination.put(KEY, limit)
    queue = RoomyQueue(embedded.queue(), room)
    make = lambda: RateLimiter(topic="jobs", rate=rate, burst=burst, coordination=coordination, queue=queue)  # noqa: E731
    async with standing(make, "a", "b") as stand:
        stand.queue = queue
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
        queue = RoomyQueue(None, 1.0)
        make = lambda: RateLimiter(topic="jobs", rate=None, burst=1, coordination=None, queue=queue)  # noqa: E731
        async with standing(make, "a") as stand:
            assert [await take(stand, 10**6) for _ in range(3)] == [0, 0, 0]

    run(main)


# room in the queue (R8)


@pytest.mark.parametrize(("room", "share"), [(0.9, 1.0), (0.30, 1.0), (0.25, 0.75), (0.2, 0.5), (0.12, 0.1)])
def test_the_rate_falls_in_a_straight_line_as_the_queue_fills(room, share):
    async def main():
        async with limiting(rate=100.0, burst=10, room=room) as stand:
            await take(stand, 10)
            waits = [await take(stand, 10) for _ in range(20)]
            assert sum(waits) == pytest.approx(20 * 10 / (100 * share), rel=0.01)

    run(main)


@pytest.mark.parametrize("rate", [100.0, None])
@pytest.mark.parametrize("room", [0.10, 0.05, 0.0])
def test_before_the_queue_is_full_nothing_is_granted_and_with_room_it_goes_on_by_itself(rate, room):
    async def main():
        async with limiting(rate=rate, burst=10) as stand:
            await take(stand, 10)
            await asyncio.sleep(10)
            stand.queue.room = room
            await asyncio.sleep(LOOK + 0.01)
            stand.subject.tell(Take(1, stand.ref("a")))
            await asyncio.sleep(60)
            assert stand.told["a"].empty()
            stand.queue.room = 0.5
            await asyncio.sleep(LOOK_CLOSELY + 0.11)
            assert stand.told["a"].get_nowait() == Permits(1)

    run(main)


def test_what_was_saved_up_at_the_full_rate_is_not_spent_when_the_queue_fills():
    async def main():
        async with limiting(rate=100.0, burst=100) as stand:
            await asyncio.sleep(60)
            stand.queue.room = 0.102
            await asyncio.sleep(LOOK + 0.01)
            assert await take(stand, 1) == 0
            assert await take(stand, 10) == pytest.approx(1.0, abs=0.2)  # 1 a second

    run(main)


def test_the_less_room_a_queue_has_the_more_closely_it_is_looked_at():
    async def main():
        async with limiting() as stand:
            for room, looks in ((1.0, 60), (0.65, 120), (0.2, 600), (0.05, 600), (1.0, 60)):
                stand.queue.room = room
                await asyncio.sleep(LOOK)
                before = stand.queue.calls["headroom"]
                await asyncio.sleep(60)
                assert stand.queue.calls["headroom"] - before == pytest.approx(looks, abs=2)

    run(main)


@pytest.mark.parametrize("filled", [0.1, 0.3, 0.65])
def test_the_first_look_below_the_full_rate_comes_in_time_however_fast_the_queue_fills(filled):
    """`filled` is the share of the memory that the full rate takes in a second: never is it used up unseen."""
    free, at = 1.0, 0.0
    while free > FULL_RATE:
        pause = next_look(free)
        free, at = free - filled * pause, at + pause
    assert free >= FULL_RATE - filled * LOOK_CLOSELY > STOP


def test_filling_and_having_room_are_noted_once_also_on_the_edge():
    async def main():
        async with limiting() as stand:
            for room in (0.31, 0.29, 0.31, 0.29, 0.05, 0.29, 0.34, 0.36, 0.31, 0.9):
                stand.queue.room = room
                await asyncio.sleep(LOOK)
            assert stand.notes("queue_filling") == [{"free": 0.29}]
            assert stand.notes("queue_has_room") == [{"free": 0.36}]

    run(main)


@pytest.mark.parametrize("away", ["down", "silent"])
@pytest.mark.parametrize("room", [1.0, 0.05])
def test_while_the_queue_does_not_tell_what_was_known_stays(away, room):
    async def main():
        async with limiting(rate=10.0, burst=10, room=room) as stand:
            setattr(stand.queue.faults, away, True)
            stand.queue.room = 1.05 - room
            stand.subject.tell(Take(10, stand.ref("a")))
            await asyncio.sleep(60)
            assert stand.told["a"].empty() is (room < 0.1)
            setattr(stand.queue.faults, away, False)
            await asyncio.sleep(10)
            stand.subject.tell(Take(1, stand.ref("b")))
            await asyncio.sleep(1)
            assert stand.told["b"].empty() is (room == 1.0)
            assert stand.failures() == []

    run(main)


def test_nothing_is_granted_before_the_queue_was_seen():
    async def main():
        queue = RoomyQueue(None, 1.0)
        queue.faults.down = True
        make = lambda: RateLimiter(topic="jobs", rate=None, burst=1, coordination=None, queue=queue)  # noqa: E731
        async with standing(make, "a") as stand:
            stand.subject.tell(Take(1, stand.ref("a")))
            await asyncio.sleep(60)
            assert stand.told["a"].empty()
            queue.faults.down = False
            assert await stand.told["a"].get() == Permits(1)

    run(main)


def test_a_limit_that_is_set_while_the_queue_fills_is_scaled_too():
    async def main():
        async with limiting(rate=10.0, burst=10, room=0.2) as stand:
            await stand.put(KEY, b"1000/s")
            await settle()
            await take(stand, 10)
            waits = [await take(stand, 10) for _ in range(20)]
            assert sum(waits) == pytest.approx(20 * 10 / 500, rel=0.01)

    run(main)
