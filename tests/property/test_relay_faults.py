"""A topic's relay under whatever goes wrong, on virtual time: in the end every record is in the queue, once (R2-R5, A3).

Two instances compete for the topic. Hypothesis chooses what fails, when and for how long; then all heals, and nobody
helps. Each range of each partition must then have been written exactly once, in order, by terms that never go back.
"""

import asyncio

import hypothesis.strategies as st
from hypothesis import event, given, settings
from support.effort import examples
from support.relay_tree import CONNECTION, LIMITER, LOCK, RELAY, TOPIC, WRITER, consumer, relaying, run

from forebay.actors.relay.campaign import lock_key
from forebay.config.values import Intensity

KEY = lock_key(TOPIC)
SUPPORTIVE = Intensity(50, 3600.0)
INSTANCE = st.integers(0, 1)
SERVICE = st.sampled_from(["log", "queue", "coordination"])
SECONDS = st.sampled_from([0.001, 0.05, 1.0, 7.0, 40.0])
VICTIM = st.sampled_from([LOCK, LIMITER, CONNECTION, WRITER, consumer(0), consumer(1)])
ACTIONS = st.one_of(
    st.tuples(st.just("down"), INSTANCE, SERVICE, SECONDS),
    st.tuples(st.just("silent"), INSTANCE, SERVICE, SECONDS),
    st.tuples(st.just("refuse"), INSTANCE, SERVICE, st.sampled_from([0.05, 0.5])),
    st.tuples(st.just("lose"), INSTANCE, SERVICE, st.sampled_from([0.05, 0.5])),
    st.tuples(st.just("crash"), INSTANCE, VICTIM, st.just(0)),
    st.tuples(st.just("usurp"), INSTANCE, st.none(), SECONDS),
    st.tuples(st.just("delete lock"), INSTANCE, st.none(), st.just(0)),
    st.tuples(st.just("destroy session"), INSTANCE, st.none(), st.just(0)),
    st.tuples(st.just("forget fence"), INSTANCE, st.none(), st.just(0)),
)
STEPS = st.lists(st.tuples(ACTIONS, st.sampled_from([0.0, 0.002, 0.3, 4.0])), min_size=1, max_size=12)


async def strike(services, instance, what, subject, amount):
    """Do one thing; what cannot be done now (nobody runs there, nobody holds the lock) is not done."""
    if what in ("down", "silent"):
        faults = getattr(instance, subject).faults
        setattr(faults, what, True)
        asyncio.get_running_loop().call_later(amount, setattr, faults, what, False)
    elif what in ("refuse", "lose"):
        setattr(getattr(instance, subject).faults, what, amount)
    elif what == "crash":
        cell = instance.runtime.system.find(subject)
        if cell is not None and cell.process is not None:
            event(f"crash of {subject.removeprefix(RELAY)}")
            instance.runtime.inject(subject, RuntimeError("bug"))
    elif what == "usurp":  # the lock is given away behind the back of an instance that hears nothing of it
        await strike(services, instance, "silent", "coordination", amount)
        await services.coordination.delete(KEY)
    elif what == "delete lock":
        await services.coordination.delete(KEY)
    elif what == "destroy session":
        entry = await services.coordination.get(KEY)
        if entry is not None and entry.session is not None:
            await services.coordination.destroy_session(entry.session)
    else:
        await services.forget(everything=False)


async def suffer(seed, steps, latency):
    options = {"ttl": 6.0, "lock_delay": 2.0, "batch": 7, "intensity": SUPPORTIVE}
    async with relaying(seed, partitions=2, names=("a", "b"), **options) as (services, *instances):
        faults = [faults for instance in instances for faults in instance.faults]
        for one in faults:
            one.latency = latency
        for (what, number, subject, amount), pause in steps:
            await services.post(20)
            await strike(services, instances[number], what, subject, amount)
            await asyncio.sleep(pause)
        for one in faults:
            one.heal()
        healed = asyncio.get_running_loop().time()
        await services.post(20)
        await services.until_relayed(within=180.0)
        event(f"healed within {10 * round((asyncio.get_running_loop().time() - healed) / 10)} s")
        await services.check_relayed()
        services.check_once()
        tokens = {write[0] for write in services.queue.writes}
        event("several terms wrote" if len(tokens) > 1 else "one term wrote")
        if any(one.bites for one in faults):
            event("calls failed")
        for instance in instances:
            refused = [exit_ for exit_ in instance.exits(LOCK) if "stale" in str(getattr(exit_, "error", ""))]
            if refused:
                event("an old term was refused")


@settings(max_examples=examples(60, 1000))
@given(st.integers(0, 2**16), STEPS, st.sampled_from([0.0, 0.001, 0.1]))
def test_whatever_fails_every_record_reaches_the_queue_once_and_in_order(seed, steps, latency):
    run(suffer, seed, steps, latency, seed=seed)
