"""Who holds a topic, on virtual time: winning the lock, keeping it, losing it, giving it back (R1, R2, R3, R13)."""

import asyncio

import pytest
from support.relay_tree import LOCK, RELAY, TOPIC, Instance, relaying, run

from forebay.actors.exits import Failed, Shutdown
from forebay.actors.relay.campaign import lock_key
from forebay.actors.relay.messages import LockLost, QueueForgot, TermRefused
from forebay.actors.relay.topic_lock import TermEnded, generation_key
from forebay.backends.ports import Token
from forebay.scenarios.loop import running_loop
from forebay.supervisors.requests import NoSuchChild

KEY = lock_key(TOPIC)


async def holder(services):
    """The name of the instance that holds the lock, None if nobody does."""
    entry = await services.coordination.get(KEY)
    return entry.value.decode() if entry is not None and entry.session else None


def losses(instance):
    return [exit_.error for exit_ in instance.exits(LOCK) if isinstance(exit_, Failed)]


async def begun(instance, term=1):
    """Wait until an instance's `term`-th term has begun; return its token."""
    return await instance.until_noted("term_begins", term)


def has_term(instance):
    try:
        instance.runtime.supervisor(f"{RELAY}/term")
    except NoSuchChild:
        return False
    return True


# one holder


def test_one_of_many_instances_holds_the_topic_and_only_it_has_a_term():
    async def main():
        async with relaying(names=("a", "b", "c")) as (services, *instances):
            await asyncio.sleep(100)
            (name,) = [i.name for i in instances if has_term(i)]
            assert name == await holder(services)

    run(main)


def test_waiting_in_line_costs_one_watch_and_no_session():
    async def main():
        async with relaying(names=("a", "b")) as (_, *instances):
            await asyncio.sleep(1)
            waiting = next(i for i in instances if not has_term(i))
            before = dict(waiting.coordination.calls)
            await asyncio.sleep(900)
            after = waiting.coordination.calls
            assert {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name)} == {"watch": 3}

    run(main)


def test_a_clean_stop_hands_over_at_once():
    async def main():
        async with relaying(names=("a", "b"), rank_delay=0.2, lock_delay=60.0, ttl=60.0) as (services, a, b):
            await begun(a)
            stopped = running_loop().time()
            await a.runtime.stop()
            await begun(b)
            assert running_loop().time() - stopped <= 0.2 + 0.001
            assert isinstance(a.exits(LOCK)[-1], Shutdown)
            assert await holder(services) == "b"

    run(main)


def test_a_clean_stop_ends_the_term_before_it_gives_the_lock_back():
    async def main():
        async with relaying() as (services, a):
            await begun(a)
            term_ended = []
            release = services.coordination.release

            async def watched_release(*args):
                term_ended.append(not has_term(a))
                return await release(*args)

            services.coordination.release = watched_release
            await a.runtime.stop()
            assert term_ended == [True]
            assert services.embedded.coordination._sessions == {}

    run(main)


def test_the_rank_delays_an_instance():
    async def main():
        async with relaying(names=("b", "a"), rank_delay=5.0) as (services, b, a):
            await begun(a)
            assert await holder(services) == "a"
            assert not has_term(b)

    run(main)


def test_who_waited_for_its_rank_does_not_wait_again_when_the_lock_delay_is_over():
    """R2: places in the order of candidates delay a takeover once."""

    async def main():
        async with relaying(names=("a", "b"), rank_delay=2.0, ttl=10.0, lock_delay=5.0) as (_, a, b):
            await begun(a)
            a.coordination.faults.silent = True
            cut_off = running_loop().time()
            await begun(b)
            assert running_loop().time() - cut_off <= 10.0 + 2.0 + 5.0 + 0.1

    run(main)


def test_a_crashed_holder_is_succeeded_after_its_session_and_lock_delay():
    async def main():
        async with relaying(names=("a", "b"), rank_delay=0.2, ttl=10.0, lock_delay=5.0) as (_, a, b):
            await begun(a)
            a.coordination.faults.silent = True
            cut_off = running_loop().time()
            await begun(b)
            assert running_loop().time() - cut_off <= 10.0 + 2 * 5.0 + 1.0

    run(main)


# keeping and losing it


def test_the_lock_is_kept_as_long_as_renewals_get_through():
    async def main():
        async with relaying() as (_, a):
            await asyncio.sleep(600)
            a.coordination.faults.down = True
            await asyncio.sleep(3.0)
            a.coordination.faults.down = False
            await asyncio.sleep(600)
            assert losses(a) == []

    run(main)


@pytest.mark.parametrize(("ttl", "lock_delay", "trust"), [(10.0, 4.0, 4.0), (3.0, 15.0, 3.0), (6.0, 0.0, 6.0)])
@pytest.mark.parametrize("how", ["down", "silent"])
def test_without_renewals_the_lock_is_trusted_no_longer_than_ttl_and_lock_delay(ttl, lock_delay, trust, how):
    async def main():
        async with relaying(ttl=ttl, lock_delay=lock_delay) as (_, a):
            await asyncio.sleep(100)
            setattr(a.coordination.faults, how, True)
            cut_off = running_loop().time()
            await asyncio.sleep(trust - trust / 3 - 0.01)  # the last renewal was sent up to a third ago
            assert losses(a) == []
            while not losses(a):
                await asyncio.sleep(0.05)
            assert running_loop().time() - cut_off <= trust + 0.1
            assert isinstance(losses(a)[0], LockLost)
            await asyncio.sleep(1.0)
            assert not has_term(a)

    run(main)


@pytest.mark.parametrize("how", ["deleted", "session destroyed"])
def test_a_lock_that_is_taken_away_is_lost_at_once_and_won_again(how):
    async def main():
        async with relaying(lock_delay=2.0) as (services, a):
            await begun(a)
            session = (await services.coordination.get(KEY)).session
            taken = running_loop().time()
            if how == "deleted":
                await services.coordination.delete(KEY)
            else:
                await services.coordination.destroy_session(session)
            again = await begun(a, 2)
            assert running_loop().time() - taken < 2.5
            assert [type(e) for e in losses(a)] == [LockLost]
            assert again["index"] > a.notes("term_begins")[0]["index"]
            await a.until_started(f"{RELAY}/term", 2)

    run(main)


def test_coordination_that_is_away_at_the_start_is_waited_for():
    async def main():
        async with relaying() as (services, _):
            late = Instance(services, "late")
            for faults in late.faults:
                faults.down = True
            await late.runtime.start()
            await asyncio.sleep(600)
            assert losses(late) == []
            late.faults[2].heal()
            await asyncio.sleep(10)
            assert late.notes("coordination_back")
            await late.runtime.stop()

    run(main)


def test_attempts_whose_answers_are_lost_leave_one_holder_and_no_stray_session():
    async def main():
        async with relaying(seed=4, ttl=3.0) as (services, a):
            a.coordination.faults.refuse = a.coordination.faults.lose = 0.3
            await services.coordination.delete(KEY)
            await asyncio.sleep(120)
            a.coordination.faults.heal()
            await asyncio.sleep(20)
            assert await holder(services) == "a"
            assert len(services.embedded.coordination._sessions) == 1

    run(main)


def test_a_lock_that_was_lost_in_an_outage_but_is_still_in_our_name_is_won_back_after_its_lock_delay():
    async def main():
        async with relaying(ttl=600.0, lock_delay=2.0) as (services, a):
            await begun(a)
            a.coordination.faults.down = True
            await asyncio.sleep(5)
            assert await holder(services) == "a"
            assert not has_term(a)
            a.coordination.faults.down = False
            healed = running_loop().time()
            await begun(a, 2)
            assert running_loop().time() - healed < 2 + 2.5  # the backoff's cap, and the lock delay
            assert len(services.embedded.coordination._sessions) == 1

    run(main)


# fences


def test_a_queue_with_a_higher_fence_gets_a_larger_generation_that_is_remembered():
    async def main():
        async with relaying() as (services, a):
            await begun(a)
            await services.queue.plant(TOPIC, Token(4, 10**9))
            await services.post(3)
            term = await begun(a, 2)
            assert term["generation"] == 5
            assert (await services.coordination.get(generation_key(TOPIC))).value == b"5"
            await services.until_relayed()
            await services.coordination.delete(KEY)
            assert (await begun(a, 3))["generation"] == 5

    run(main)


def test_a_holder_whose_fence_is_late_does_not_outbid_the_one_that_has_the_lock_now():
    async def main():
        async with relaying(names=("a", "b"), rank_delay=0.5) as (services, a, b):
            await begun(a)
            a.queue.faults.silent = True
            await services.coordination.delete(KEY)
            await asyncio.sleep(0.1)
            assert await holder(services) == "a"
            a.coordination.muted.add("watch")  # it is not told what comes now, but may ask
            await services.coordination.delete(KEY)
            term = await begun(b)
            a.queue.faults.silent = False
            await asyncio.sleep(0.1)
            assert "newer fence" in str(losses(a)[-1])
            assert await services.coordination.get(generation_key(TOPIC)) is None
            assert b.notes("term_begins") == [term]
            a.coordination.muted.clear()

    run(main)


def test_a_generation_that_is_no_number_is_taken_as_none():
    async def main():
        async with relaying() as (services, a):
            await services.coordination.put(generation_key(TOPIC), b"many")
            await services.coordination.delete(KEY)
            assert (await begun(a, 2))["generation"] == 0

    run(main)


def test_a_queue_that_is_away_is_waited_for_with_the_lock_in_hand():
    async def main():
        async with relaying() as (services, a):
            await begun(a)
            a.queue.faults.down = True
            await services.coordination.delete(KEY)
            await asyncio.sleep(600)
            assert await holder(services) == "a"
            assert not has_term(a)
            a.queue.faults.down = False
            await begun(a, 2)
            assert len(losses(a)) == 1

    run(main)


def test_a_refusal_of_an_earlier_term_is_ignored():
    async def main():
        async with relaying() as (_, a):
            await begun(a)
            for forgot in (True, False):
                a.runtime.ref(LOCK).tell(TermRefused(Token(0, 1), forgot, "late"))
            await asyncio.sleep(1)
            assert losses(a) == []

    run(main)


@pytest.mark.parametrize("everything", [False, True])
def test_a_queue_that_forgot_its_fence_is_planted_anew_without_a_lock_delay(everything):
    async def main():
        async with relaying(lock_delay=30.0, ttl=30.0) as (services, a):
            await services.post(30)
            await services.until_relayed()
            await services.forget(everything=everything)
            forgotten = running_loop().time()
            await services.post(3)
            await services.until_relayed()
            await services.check_relayed()
            assert running_loop().time() - forgotten < 1
            assert [type(e) for e in losses(a)] == [QueueForgot]

    run(main)


# a term that was stopped


def test_a_term_that_is_stopped_by_request_starts_again_as_the_lock_is_still_ours():
    """R2: else the lock is held and renewed for ever, and nobody relays."""

    async def main():
        async with relaying() as (services, a):
            token = await begun(a)
            await a.runtime.supervisor(RELAY).terminate_child("term")
            await a.until_started(f"{RELAY}/term/redis_writer", 2)
            await services.post(20)
            await services.until_relayed()
            assert (await services.coordination.get(KEY)).modify_index == token["index"]
            assert a.exits(LOCK) == []

    run(main)


# bugs


def test_a_term_that_ends_by_itself_counts_against_the_relays_budget():
    async def main():
        async with relaying() as (_, a):
            await a.until_started(f"{RELAY}/term", 1)
            for _ in range(4):
                a.runtime.inject(f"{RELAY}/term/rate_limiter", RuntimeError("bug"))
                await asyncio.sleep(0.5)
            await begun(a, 2)
            (error,) = losses(a)
            assert isinstance(error, TermEnded)
            assert "bug" in str(error)
            incident = next(i for i in a.incidents() if i.child == "topic_lock")
            assert not incident.environment
            await a.until_started(f"{RELAY}/term", 2)

    run(main)
