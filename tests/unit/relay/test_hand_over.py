"""A topic that is given up for an instance with more room: what of it is left, on virtual time (R2, R4, R13)."""

import asyncio

from support.relay_tree import LOCK, RELAY, TOPIC, relaying, run

from forebay.actors.exits import Failed, Shutdown
from forebay.actors.relay.campaign import lock_key
from forebay.actors.relay.messages import HandedOver, HandOver, LockLost
from forebay.scenarios.loop import running_loop

KEY = lock_key(TOPIC)
TOLD = HandOver("told to")


async def late():
    """The rank delay of an instance that is full."""
    return 1.0


def reasons(instance):
    return [type(exit_.error) for exit_ in instance.exits(LOCK) if isinstance(exit_, Failed)]


async def holder(services):
    entry = await services.coordination.get(KEY)
    return entry.value.decode() if entry.session else None


def test_the_next_holder_goes_on_at_once_and_nothing_is_left_out_or_written_twice():
    async def main():
        async with relaying(names=("a", "b"), rank_delay=0.2, lock_delay=60.0, ttl=60.0) as (services, a, b):
            await a.until_noted("term_begins", 1)
            a.rank_delay = late
            posting = asyncio.ensure_future(post_for_a_while(services))
            await asyncio.sleep(1)
            told = running_loop().time()
            a.runtime.ref(LOCK).tell(TOLD)
            await b.until_noted("term_begins", 1)
            assert running_loop().time() - told <= 0.3
            await posting
            await services.until_relayed()
            await services.check_relayed()
            services.check_once()
            assert await holder(services) == "b"
            assert reasons(a) == [HandedOver]

    run(main)


async def post_for_a_while(services):
    for _ in range(100):
        await services.post(20)
        await asyncio.sleep(0.03)


def test_the_term_ends_in_order_before_the_lock_goes_back():
    async def main():
        async with relaying() as (services, a):
            await a.until_noted("term_begins", 1)
            a.runtime.ref(LOCK).tell(TOLD)
            await a.until_noted("term_begins", 2)
            ends = [(e.path, e.exit) for e in a.history() if hasattr(e, "exit")]
            paths = [path for path, _ in ends]
            assert paths[-1] == LOCK
            assert f"{RELAY}/term/redis_writer" in paths
            assert all(isinstance(exit_, Shutdown) for path, exit_ in ends if path.startswith(f"{RELAY}/term/"))
            await services.post(20)
            await services.until_relayed()  # nobody else wanted it

    run(main)


def test_it_is_no_bug_however_often_it_happens():
    """R6 of docs/semantics.md: the relay's restart budget is for bugs."""

    async def main():
        async with relaying() as (_, a):
            for term in range(1, 11):
                await a.until_noted("term_begins", term)
                a.runtime.ref(LOCK).tell(TOLD)
            await a.until_noted("term_begins", 11)
            assert all(incident.environment for incident in a.incidents())

    run(main)


def test_who_holds_nothing_has_nothing_to_hand_over():
    async def main():
        async with relaying(names=("a", "b"), rank_delay=0.2) as (services, a, b):
            await a.until_noted("term_begins", 1)
            b.runtime.ref(LOCK).tell(TOLD)
            await asyncio.sleep(10)
            assert reasons(b) == reasons(a) == []
            assert await holder(services) == "a"

    run(main)


def test_a_lock_that_is_lost_just_then_is_lost():
    async def main():
        async with relaying() as (services, a):
            await a.until_noted("term_begins", 1)
            a.log.faults.silent = True  # the last commit of the connections takes its time
            await services.post(1)
            a.runtime.ref(LOCK).tell(TOLD)
            a.runtime.ref(LOCK).tell(TOLD)
            await services.coordination.delete(KEY)
            a.log.faults.heal()
            await a.until_noted("term_begins", 2)
            assert reasons(a) == [LockLost]
            await services.until_relayed()
            await services.check_relayed()

    run(main)


def test_a_stop_just_then_leaves_nothing():
    async def main():
        async with relaying() as (services, a):
            await a.until_noted("term_begins", 1)
            a.runtime.ref(LOCK).tell(TOLD)
            await a.runtime.stop()
            assert services.embedded.coordination._sessions == {}
            assert await holder(services) is None

    run(main)
