"""Who lives, and who takes a topic that becomes free, on virtual time (R13)."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import pytest
from support.flaky import Faults, Flaky
from support.relay_tree import LIMITS, Services, run

from forebay.actors.relay.campaign import lock_key
from forebay.actors.relay.membership import Membership
from forebay.actors.relay.ranking import INSTANCES, Ranking, instance_key, rank
from forebay.actors.relay.topic_lock import TopicLock
from forebay.scenarios.loop import running_loop
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, Restart, Strategy, SupervisorSpec

TOPICS = [f"topic-{number}" for number in range(12)]
STEP = 0.3
TTL, LOCK_DELAY = 10.0, 5.0


class Member:
    """One instance: its membership, and a lock for each topic with an empty term."""

    def __init__(self, services, name, topics):
        self.name, self.queue = name, services.queue
        self.coordination = Flaky(services.coordination, Faults(Random(name)))
        member = ChildSpec("membership", self._membership, limits=LIMITS)
        relays = [ChildSpec(f"relay[{topic}]", self._relay(topic)) for topic in topics]
        spec = SupervisorSpec(children=[ChildSpec("relays", SupervisorSpec(Strategy.DYNAMIC, [member, *relays]))])
        self.runtime = Runtime(spec, clock=running_loop().clock, seed=name.encode()[0], deadline=60.0)

    def _membership(self):
        return Membership(coordination=self.coordination, instance=self.name, ttl=TTL)

    def _relay(self, topic):
        lock = ChildSpec("topic_lock", partial(self._lock, topic), limits=LIMITS)
        return SupervisorSpec(Strategy.REST_FOR_ONE, [lock])

    def _lock(self, topic):
        return TopicLock(
            topic=topic,
            partitions=1,
            coordination=self.coordination,
            queue=self.queue,
            ttl=TTL,
            lock_delay=LOCK_DELAY,
            instance=self.name,
            prepare=None,  # its term has no connection that would find more partitions
            rank_delay=partial(Ranking(self.coordination, self.name, STEP).delay, topic),
            term_spec=lambda _: ChildSpec("term", SupervisorSpec(children=()), restart=Restart.TEMPORARY),
        )


@asynccontextmanager
async def members(*names, topics=()):
    services = Services()
    await services.start()
    started = [Member(services, name, topics) for name in names]
    try:
        for member in started:
            await member.runtime.start()
        yield services.coordination, *started
    finally:
        for member in started:
            member.coordination.faults.heal()
            await member.runtime.stop()
        await services.embedded.stop()


async def living(coordination):
    return [entry.value.decode() for entry in await coordination.under(INSTANCES) if entry.session is not None]


async def holders(coordination):
    """Who holds each topic; None where nobody does."""
    entries = [await coordination.get(lock_key(topic)) for topic in TOPICS]
    return {t: e.value.decode() if e is not None and e.session else None for t, e in zip(TOPICS, entries, strict=True)}


def first_of(*names):
    """Whom each topic should go to while these live."""
    return {topic: next(name for name in names if rank(topic, name, names) == 0) for topic in TOPICS}


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
    """R13: each goes to the first of the living in its own order."""

    async def main():
        async with members("a", "b", "c", topics=TOPICS) as (coordination, a, _, _):
            await asyncio.sleep(10)
            assert await holders(coordination) == dict.fromkeys(TOPICS, "a"), "who came first took what was free"
            if end == "stop":
                await a.runtime.stop()
            else:
                a.coordination.faults.silent = True
            await asyncio.sleep(2 * TTL + 2 * LOCK_DELAY + STEP)
            assert await holders(coordination) == first_of("b", "c")
            assert set(first_of("b", "c").values()) == {"b", "c"}

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
            assert await holders(coordination) == dict.fromkeys(TOPICS, "c")

    run(main)
