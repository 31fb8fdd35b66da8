"""The event stream: nobody who looks can hold an actor up (A6)."""

import asyncio

import attrs
import pytest

from forebay import (
    DeadLetter,
    Dropped,
    Escalated,
    EventStream,
    Exited,
    HandlerStuck,
    Incident,
    LoopLag,
    Normal,
    Noted,
    Parked,
    RestartScheduled,
    Started,
    StartFailed,
    Zombie,
)

PLACE = {"at": 1.0, "path": "/a", "incarnation": 2}


def noted(number):
    return Noted(**PLACE, name=str(number))


def names(events):
    return [event.name for event in events]


async def test_every_subscriber_gets_every_event_in_order():
    stream = EventStream()
    subscriptions = [stream.subscribe(), stream.subscribe()]
    for number in range(3):
        stream.emit(noted(number))
    assert [names(one.drain()) for one in subscriptions] == [["0", "1", "2"]] * 2
    assert subscriptions[0].drain() == []


async def test_a_slow_reader_loses_the_oldest_and_knows_how_many():
    stream = EventStream()
    slow = stream.subscribe(capacity=2)
    for number in range(5):
        stream.emit(noted(number))
    assert (names(slow.drain()), slow.missed) == (["3", "4"], 3)


async def test_a_reader_waits_for_the_next_event():
    stream = EventStream()
    async with stream.subscribe() as events:
        reading = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        stream.emit(noted("late"))
        assert (await reading).name == "late"


async def test_a_closed_subscription_ends_after_what_it_holds():
    stream = EventStream()
    events = stream.subscribe()
    stream.emit(noted("held"))
    events.close()
    stream.emit(noted("too late"))
    assert [event.name async for event in events] == ["held"]


async def test_closing_wakes_the_reader():
    events = EventStream().subscribe()
    reading = asyncio.create_task(anext(events))
    await asyncio.sleep(0)
    events.close()
    with pytest.raises(StopAsyncIteration):
        await reading


async def test_a_reader_that_was_cancelled_can_read_on():
    stream = EventStream()
    events = stream.subscribe()
    reading = asyncio.create_task(anext(events))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    stream.emit(noted("next"))
    assert (await anext(events)).name == "next"


def test_a_listener_can_leave_while_an_event_is_handed_out():
    stream, heard = EventStream(), []

    def once(event):
        heard.append(event)
        stream.unlisten(once)

    stream.listen(once)
    stream.listen(heard.append)
    stream.emit(noted(1))
    stream.emit(noted(2))
    stream.unlisten(once)
    assert names(heard) == ["1", "1", "2"]


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        (Started(**PLACE), ""),
        (StartFailed(**PLACE, exit=Normal("x")), "normal: x"),
        (Exited(**PLACE, exit=Normal("x")), "normal: x"),
        (Incident(**PLACE, child="a", environment=False, restarting=("a", "b")), "a -> a, b"),
        (Incident(**PLACE, child="a", environment=False, restarting=()), "a -> -"),
        (RestartScheduled(**PLACE, delay=0.25, failures=3), "in 0.250 s after 3 in a row"),
        (Escalated(**PLACE, child="a"), "a"),
        (Parked(**PLACE), ""),
        (Dropped(**PLACE, message="int", why="drop_oldest"), "int (drop_oldest)"),
        (DeadLetter(**PLACE, message="int", why="gone", count=4), "int (gone), number 4"),
        (HandlerStuck(**PLACE, running=5.0), "for 5.0 s"),
        (LoopLag(**PLACE, lag=0.5), "0.500 s"),
        (Zombie(**PLACE, task="/a#1/t"), "/a#1/t"),
        (Noted(**PLACE, name="moved", fields=(("to", 3), ("ok", True))), "moved to=3 ok=True"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_event_tells_itself_in_one_line(event, detail):
    assert event.detail() == detail
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.at = 2.0
