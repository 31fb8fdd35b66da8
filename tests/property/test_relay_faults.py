"""A topic's relay under whatever goes wrong, on virtual time: in the end every record is in the queue, once (R2-R6, A3).

Two instances compete for the topic. Hypothesis chooses what fails, when and for how long, and which jobs the queue refuses
how often; then all heals, and nobody helps. Each range of each partition must then have been written exactly once, in order,
by terms that never go back, and each job is in the queue, or parked if it was refused too often.
"""

import asyncio

import hypothesis.strategies as st
from hypothesis import event, given, settings
from support.effort import examples
from support.relay_tree import CONNECTION, LIMITER, LOCK, RELAY, TOPIC, WRITER, consumer, relaying, run

from forebay.actors.relay.campaign import lock_key
from forebay.actors.relay.detour import RETRY_AFTER
from forebay.backends.ports import JobState
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


async def suffer(seed, steps, latency, poisons=(), unparkable=()):
    options = {"ttl": 6.0, "lock_delay": 2.0, "batch": 7, "intensity": SUPPORTIVE}
    async with relaying(seed, partitions=2, names=("a", "b"), **options) as (services, *instances):
        services.queue.poisons = {str(job): times for job, times in dict(poisons).items()}
        services.queue.unparkable = {b"%d" % job for job in unparkable}
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
        refused = await (services.until_accounted_for if poisons else services.until_relayed)(within=600.0)
        event(f"healed within {10 * round((asyncio.get_running_loop().time() - healed) / 10)} s")
        if poisons:
            await check_refused(services, dict(poisons), refused)
        else:
            await services.check_relayed()
        services.check_once(redelivered=bool(poisons))
        tokens = {write[0] for write in services.queue.writes}
        event("several terms wrote" if len(tokens) > 1 else "one term wrote")
        if any(one.bites for one in faults):
            event("calls failed")
        for instance in instances:
            refused = [exit_ for exit_ in instance.exits(LOCK) if "stale" in str(getattr(exit_, "error", ""))]
            if refused:
                event("an old term was refused")


async def check_refused(services, poisons, parked):
    """Nobody is parked who was not refused at every one of his tries, and who was is there with error and bytes."""
    await services.check_marks()
    jobs = {int(id_) for id_ in await services.relayed()}
    assert jobs | parked == set(range(len(services.posted)))
    tries = len(RETRY_AFTER) + 1
    assert all(poisons.get(job, 0) >= tries for job in parked)
    assert all(job in jobs for job, times in poisons.items() if times < tries and job < len(services.posted))
    assert all(job in parked for job, times in poisons.items() if times == FOR_EVER and job < len(services.posted))
    for view in await services.queue.browse(TOPIC, JobState.PARKED, 1000):
        assert "poisoned" in view.error
        assert (view.args == b"") == view.error.startswith("its bytes are in the log alone")
    event(f"{min(len(parked), 3)} parked")


FOR_EVER = 10**9
TIMES = st.sampled_from([1, 3, len(RETRY_AFTER), len(RETRY_AFTER) + 1, FOR_EVER])
POISONS = st.dictionaries(st.integers(0, 39), TIMES, min_size=1, max_size=8)
FEW_STEPS = st.lists(st.tuples(ACTIONS, st.sampled_from([0.0, 0.002, 0.3, 4.0])), min_size=1, max_size=5)


@settings(max_examples=examples(12, 120))
@given(st.integers(0, 2**16), FEW_STEPS, st.sampled_from([0.0, 0.001]), POISONS, st.sets(st.integers(0, 39), max_size=20))
def test_whatever_fails_refused_jobs_block_nobody_and_are_not_lost(seed, steps, latency, poisons, unparkable):
    """R6, and the invariants no-end-before-write and nothing-lost with it."""
    run(suffer, seed, steps, latency, tuple(poisons.items()), tuple(unparkable), seed=seed)


@settings(max_examples=examples(60, 600))
@given(st.integers(0, 2**16), STEPS, st.sampled_from([0.0, 0.001, 0.1]))
def test_whatever_fails_every_record_reaches_the_queue_once_and_in_order(seed, steps, latency):
    run(suffer, seed, steps, latency, seed=seed)
