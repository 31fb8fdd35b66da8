"""Who lives, who takes a topic that becomes free, and who gives one up, on virtual time (R13)."""

import asyncio
from collections import Counter

import pytest
from support.members import LOCK_DELAY, STEP, TTL, members
from support.relay_tree import run

from forebay.actors.events import Exited, Noted
from forebay.actors.exits import Failed
from forebay.actors.relay.balancer import AGAIN, LOOK
from forebay.actors.relay.campaign import lock_key
from forebay.actors.relay.messages import HandedOver
from forebay.actors.relay.ranking import INSTANCES, instance_key

TOPICS = [f"topic-{number}" for number in range(12)]


async def living(coordination):
    return [entry.value.decode() for entry in await coordination.under(INSTANCES) if entry.session is not None]


async def holders(coordination):
    """Who holds each topic; None where nobody does."""
    entries = [await coordination.get(lock_key(topic)) for topic in TOPICS]
    return {t: e.value.decode() if e is not None and e.session else None for t, e in zip(TOPICS, entries, strict=True)}


async def loads(coordination):
    return Counter((await holders(coordination)).values())


# membership


def test_an_instance_is_on_the_list_as_long_as_it_lives():
    async def main():
        async with members("a", "b") as (coordination, a, _):
            await asyncio.sleep(100)
            assert await living(coordination) == ["a", "b"]
            await a.runtime.stop()
            assert [entry.key for entry in await coordination.under(INSTANCES)] == [instance_key("b")]

    run(main)


@pytest.mark.parametrize("lost", ["session", "key"])
def test_an_instance_that_was_taken_off_the_list_registers_again(lost):
    async def main():
        async with members("a") as (coordination, _):
            await asyncio.sleep(1)
            entry = await coordination.get(instance_key("a"))
            await (coordination.destroy_session(entry.session) if lost == "session" else coordination.delete(entry.key))
            assert await living(coordination) == []
            await asyncio.sleep(TTL / 3)
            assert await living(coordination) == ["a"]
            assert len(coordination._sessions) == 1

    run(main)


def test_an_instance_that_died_does_not_count_and_the_next_to_register_removes_it():
    async def main():
        async with members("a", "b") as (coordination, a, b):
            await asyncio.sleep(1)
            a.coordination.faults.silent = True
            await asyncio.sleep(2 * TTL)
            assert await living(coordination) == ["b"]
            assert len(await coordination.under(INSTANCES)) == 2
            relays = b.runtime.supervisor("/relays")
            await relays.terminate_child("membership")
            await relays.restart_child("membership")
            await asyncio.sleep(1)
            assert [entry.key for entry in await coordination.under(INSTANCES)] == [instance_key("b")]

    run(main)


def test_a_coordination_that_is_away_is_waited_for():
    async def main():
        async with members("a") as (coordination, a):
            a.coordination.faults.down = True
            await asyncio.sleep(100)
            assert await living(coordination) == []
            a.coordination.faults.heal()
            await asyncio.sleep(TTL)
            assert await living(coordination) == ["a"]

    run(main)


# spreading


@pytest.mark.parametrize("end", ["stop", "cut off"])
def test_the_topics_of_an_instance_that_goes_spread_over_those_that_stay(end):
    """R13: evenly."""

    async def main():
        async with members("a", "b", "c", topics=TOPICS) as (coordination, a, _, _):
            await asyncio.sleep(10)
            assert await holders(coordination) == dict.fromkeys(TOPICS, "a"), "who came first took what was free"
            if end == "stop":
                await a.runtime.stop()
            else:
                a.coordination.faults.silent = True
            await asyncio.sleep(2 * TTL + 2 * LOCK_DELAY + STEP)
            assert set(await loads(coordination)) == {"b", "c"}
            await asyncio.sleep(4 * LOOK)
            assert await loads(coordination) == {"b": 6, "c": 6}

    run(main)


def test_the_first_of_an_order_that_does_not_take_its_topic_costs_the_others_a_step():
    """R13: nobody waits for an instance that lives and cannot."""

    async def main():
        async with members("a", "b", "c", topics=TOPICS) as (coordination, a, b, _):
            await asyncio.sleep(10)
            for topic in TOPICS:
                await b.runtime.supervisor("/relays").terminate_child(f"relay[{topic}]")
            await a.runtime.stop()
            await asyncio.sleep(STEP + 0.1)
            assert await living(coordination) == ["b", "c"]
            assert await loads(coordination) == {"c": len(TOPICS)}

    run(main)


# handing over


def watched(*started):
    """The ends and notes of all from now on, with the name of the instance."""
    seen = []
    for one in started:
        one.runtime.events.listen(lambda event, name=one.name: seen.append((name, event)))
    return seen


def begun(seen):
    return [name for name, event in seen if isinstance(event, Noted) and event.name == "term_begins"]


def handed_over(seen):
    return [
        event.path
        for _, event in seen
        if isinstance(event, Exited) and isinstance(event.exit, Failed) and isinstance(event.exit.error, HandedOver)
    ]


def test_an_instance_with_more_than_its_share_hands_topics_over_one_at_a_time_until_it_has_no_more_than_that():
    """R13: who comes later gets its share, and then all stays where it is."""

    async def main():
        async with members("a", "b", "c", topics=TOPICS) as (coordination, *started):
            await asyncio.sleep(LOOK + 1)
            assert await loads(coordination) == {"a": 12}
            seen = watched(*started)
            for moved in range(1, 9):
                await asyncio.sleep(LOOK)
                assert (await loads(coordination))["a"] == 12 - moved
            assert await loads(coordination) == {"a": 4, "b": 4, "c": 4}
            assert sorted(begun(seen)) == ["b"] * 4 + ["c"] * 4
            await asyncio.sleep(2 * AGAIN)
            assert len(begun(seen)) == 8
            assert len(set(handed_over(seen))) == 8

    run(main)


def test_a_topic_that_is_handed_over_is_without_a_holder_for_a_moment_only():
    """R13: its lock is given back, so nobody waits for a session or a lock delay to end."""

    async def main():
        async with members("a", "b", "c", topics=TOPICS) as (coordination, *_):
            await asyncio.sleep(10)
            gone = Counter()
            while (await loads(coordination))["a"] > 4:
                for topic, holder in (await holders(coordination)).items():
                    gone[topic] = gone[topic] + 1 if holder is None else 0
                    assert gone[topic] < 10
                await asyncio.sleep(0.1)

    run(main)


def test_a_topic_that_nobody_else_takes_comes_back_and_is_left_alone_for_a_while():
    """R13: an instance that lives and cannot take a topic makes nobody give it up again and again."""

    async def main():
        async with members("a", "b", topics=TOPICS) as (coordination, a, b):
            for topic in TOPICS:
                await b.runtime.supervisor("/relays").terminate_child(f"relay[{topic}]")
            await asyncio.sleep(5)
            seen = watched(a, b)
            await asyncio.sleep(AGAIN)
            assert await loads(coordination) == {"a": 12}
            assert len(handed_over(seen)) == len(set(handed_over(seen))) == 12
            await asyncio.sleep(AGAIN)
            assert await loads(coordination) == {"a": 12}
            assert Counter(handed_over(seen)).most_common(1)[0][1] == 2

    run(main)


def test_others_that_live_are_a_new_reason_to_hand_over():
    """R13."""

    async def main():
        async with members("a", "b", "c", topics=TOPICS) as (coordination, _, b, c):
            for topic in TOPICS:
                await b.runtime.supervisor("/relays").terminate_child(f"relay[{topic}]")
            await c.runtime.stop()
            await asyncio.sleep(15 * LOOK)
            assert await loads(coordination) == {"a": 12}
            for topic in TOPICS:
                await b.runtime.supervisor("/relays").restart_child(f"relay[{topic}]")
            await b.runtime.supervisor("/relays").terminate_child("membership")
            await asyncio.sleep(LOOK)
            await b.runtime.supervisor("/relays").restart_child("membership")
            await asyncio.sleep(9 * LOOK)
            assert await loads(coordination) == {"a": 6, "b": 6}

    run(main)


def test_while_coordination_is_away_nothing_is_given_up():
    """R13."""

    async def main():
        async with members("a", "b", topics=TOPICS) as (coordination, a, b):
            await asyncio.sleep(LOOK)
            seen = watched(a, b)
            a.coordination.faults.down = True
            await asyncio.sleep(LOOK + 1)
            assert handed_over(seen) == []
            a.coordination.faults.heal()
            await asyncio.sleep(20 * LOOK)
            assert await loads(coordination) == {"a": 6, "b": 6}

    run(main)
