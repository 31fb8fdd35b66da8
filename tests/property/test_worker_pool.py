"""Worker pools under crashes, refused calls, lost answers and outages: no job is lost, none runs twice without a cause.

Every example is one run on virtual time; hypothesis draws the jobs and the faults, the loop draws the order of what is
ready at once (Q2, Q6, F2).
"""

import asyncio

import hypothesis.strategies as st
from hypothesis import event, given, settings
from support.effort import examples
from support.work_tree import ATTEMPTS, DISPATCHER, KEEPER, slot, working

from forebay.actors.work.failure import MAX_TEXT
from forebay.scenarios.virtual import run_virtual

SLOTS = 3
JOBS = st.lists(st.tuples(st.sampled_from([0, 0.3, 4, 12]), st.integers(0, ATTEMPTS)), min_size=1, max_size=12)
SEEDS = st.integers(0, 2**32)
PAUSES = st.sampled_from([0, 0.001, 0.4, 3])
CALM = st.sampled_from(["crash dispatcher", "refuse", "lose", "heal", "short outage", "pass"])
ROUGH = st.sampled_from(["crash dispatcher", "crash slot", "crash keeper", "refuse", "lose", "heal", "outage", "silence"])


def plan(actions):
    return st.lists(st.tuples(PAUSES, actions, st.integers(0, SLOTS - 1)), max_size=10)


async def post(shop, jobs):
    for number, (seconds, failures) in enumerate(jobs):
        topic = shop.topics[number % len(shop.topics)]
        await shop.post(f"j{number}", topic, seconds=seconds, failures=failures)


async def strike(pool, action, which):
    faults = pool.faults[which % len(pool.faults)]
    match action:
        case "crash dispatcher":
            crash(pool, DISPATCHER)
        case "crash keeper":
            crash(pool, KEEPER)
        case "crash slot":
            crash(pool, slot(which))
        case "refuse":
            faults.refuse = 0.3
        case "lose":
            faults.lose = 0.3
        case "heal":
            pool.heal()
        case "short outage" | "outage":
            faults.down = True
            await asyncio.sleep(2 if action == "short outage" else 15)
            faults.down = False
        case "silence":
            faults.silent = True
            await asyncio.sleep(12)
            faults.silent = False


def crash(pool, path):
    """Unless it is down already."""
    cell = pool.runtime.system.find(path)
    if cell is not None and cell.process is not None:
        pool.runtime.inject(path, RuntimeError("a fault of the test"))


async def live_through(pools, faults):
    for number, (pause, action, which) in enumerate(faults):
        event(action)
        await asyncio.sleep(pause)
        await strike(pools[number % len(pools)], action, which)
    for pool in pools:
        pool.heal()


async def nothing_is_lost(shop, diary, jobs):
    """Each job is done or dead; both only if it was done and died of its attempts before that could be recorded."""
    dead = await shop.dead()
    for number, (_, failures) in enumerate(jobs):
        id_ = f"j{number}"
        done = [entry for entry in diary.of(id_) if entry.how == "done"]
        assert done or id_ in dead, id_
        if done and id_ in dead:
            assert dead[id_].attempt > ATTEMPTS
        attempts = [entry.attempt for entry in diary.of(id_)]
        assert attempts == sorted(attempts)
        assert max(attempts, default=1) <= ATTEMPTS
        if failures >= ATTEMPTS:
            assert id_ in dead
        if id_ in dead:
            assert dead[id_].error
            assert len(dead[id_].error) <= MAX_TEXT
    assert await shop.leased() == 0


def ran_exactly_as_often_as_it_should(diary, jobs):
    for number, (_, failures) in enumerate(jobs):
        attempts = [entry.attempt for entry in diary.of(f"j{number}")]
        assert attempts == list(range(1, min(failures + 1, ATTEMPTS) + 1))


async def calm(jobs, faults):
    async with working(topics=("jobs", "mail"), queues=2) as (shop, diary, pool):
        await post(shop, jobs)
        await live_through([pool], faults)
        await shop.finished()
        await nothing_is_lost(shop, diary, jobs)
        assert diary.overlaps == []
        if pool.notes("lease_lost"):
            event("a lease was lost")  # chance refused every renewal of one lease
        else:
            ran_exactly_as_often_as_it_should(diary, jobs)


@settings(max_examples=examples(100, 1000), deadline=None)
@given(jobs=JOBS, faults=plan(CALM), seed=SEEDS)
def test_dispatcher_crashes_and_lost_answers_make_no_job_run_twice(jobs, faults, seed):
    run_virtual(calm, jobs, faults, seed=seed, explore=True)


async def rough(jobs, faults):
    async with working(names=("a", "b"), topics=("jobs", "mail"), queues=2) as (shop, diary, *pools):
        await post(shop, jobs)
        await live_through(pools, faults)
        await shop.finished()
        await nothing_is_lost(shop, diary, jobs)
        if not any(pool.starts(KEEPER)[1:] for pool in pools):
            assert diary.overlaps == []
        for pool in pools:
            report = await pool.runtime.stop()
            assert (report.forced, report.abandoned, report.zombies) == ((), (), ())


@settings(max_examples=examples(40, 400), deadline=None)
@given(jobs=JOBS, faults=plan(ROUGH), seed=SEEDS)
def test_no_job_is_lost_whatever_crashes(jobs, faults, seed):
    run_virtual(rough, jobs, faults, seed=seed, explore=True)
