"""What restarts with what in a topic's relay, by the event stream, on virtual time (A3, R2, R3, R5)."""

import asyncio

import pytest
from support.relay_tree import (
    CONNECTION,
    ENDS,
    LIMITER,
    LOCK,
    MARKS,
    RELAY,
    RETRY_CONNECTION,
    TOPIC,
    WRITER,
    consumer,
    relaying,
    run,
)

from forebay.actors.exits import Failed
from forebay.actors.relay.campaign import lock_key
from forebay.actors.relay.messages import LockLost

CONSUMERS = [consumer(p, lane) for lane in ("partition", "retry") for p in range(3)]
PARTITIONS = f"{RELAY}/term/partitions"
TERM = f"{RELAY}/term"


async def after(instance, services, fault, expected):
    """Start many jobs, strike, wait until the last of `expected` runs again and all jobs have arrived."""
    await services.post(200)
    await services.until_relayed()
    since = len(instance.history())
    await services.post(100)
    await fault()
    await instance.until_started(expected, 2)
    await services.until_relayed()
    await services.check_relayed()
    services.check_once()
    return since


def test_lock_lost_restarts_the_whole_term_in_order_and_nothing_else():
    async def main():
        async with relaying() as (services, a):
            since = await after(a, services, lambda: services.coordination.delete(lock_key(TOPIC)), TERM)
            expected = [LOCK, LIMITER, CONNECTION, RETRY_CONNECTION, WRITER, MARKS, *CONSUMERS, PARTITIONS, ENDS, TERM]
            assert a.started(since) == [(path, 2) for path in expected]
            assert [i.child for i in a.incidents(since)] == ["topic_lock"]
            assert isinstance(a.exits(LOCK)[-1], Failed)
            assert isinstance(a.exits(LOCK)[-1].error, LockLost)

    run(main)


def test_broker_gone_restarts_connection_writer_and_consumers_once_as_one_incident():
    async def main():
        async with relaying() as (services, a):

            async def strike():
                a.log.faults.down = True
                await a.until_event(lambda e: type(e).__name__ == "Incident", len(a.history()))
                a.log.faults.down = False

            since = await after(a, services, strike, PARTITIONS)
            assert a.started(since) == [
                (path, 2) for path in [CONNECTION, RETRY_CONNECTION, WRITER, MARKS, *CONSUMERS, PARTITIONS, ENDS]
            ]
            (incident,) = a.incidents(since)
            assert (incident.path, incident.child, incident.environment) == (TERM, "kafka_connection", True)
            assert incident.restarting == (
                "kafka_connection",
                "retry_connection",
                "redis_writer",
                "settled_marks",
                "partitions",
                "ends_writer",
            )

    run(main)


def test_a_consumers_crash_restarts_it_alone():
    async def main():
        async with relaying() as (services, a):

            async def strike():
                a.runtime.inject(CONSUMERS[1], RuntimeError("bug"))

            since = await after(a, services, strike, CONSUMERS[1])
            assert a.started(since) == [(CONSUMERS[1], 2)]
            assert [i.restarting for i in a.incidents(since)] == [("partition_consumer[1]",)]

    run(main)


@pytest.mark.parametrize("how", ["down", "silent"])
def test_a_queue_that_is_away_crashes_nobody_and_holds_memory_flat(how):
    async def main():
        async with relaying(batch=10) as (services, a):
            await asyncio.sleep(1)
            since = len(a.history())
            setattr(a.queue.faults, how, True)
            fetched = a.log.calls.get("fetch", 0)
            await services.post(3000)
            await asyncio.sleep(600)
            assert a.started(since) == a.incidents(since) == []
            assert a.log.calls["fetch"] - fetched <= 6  # each consumer holds its one batch; the rest stays in the log
            a.queue.faults.heal()
            await services.until_relayed()
            await services.check_relayed()
            services.check_once()
            assert a.incidents(since) == []

    run(main)


def test_a_broker_that_is_away_for_long_escalates_nothing():
    async def main():
        async with relaying() as (services, a):
            await services.post(10)
            await services.until_relayed()
            a.log.faults.down = True
            await asyncio.sleep(600)
            assert {i.child for i in a.incidents()} == {"kafka_connection", "retry_connection"}
            assert len(a.incidents()) < 600 * 4  # backoff: capped at 1 s here, with full jitter
            a.log.faults.down = False
            await services.post(10)
            await services.until_relayed()
            await services.check_relayed()

    run(main)


def test_an_old_holder_that_does_not_know_yet_writes_nothing_once_the_next_has_begun():
    async def main():
        async with relaying(names=("a", "b"), rank_delay=0.05) as (services, a, b):
            await a.until_noted("term_begins")
            await services.post(20)
            await services.until_relayed()
            a.coordination.faults.silent = True
            await services.coordination.delete(lock_key(TOPIC))
            await b.until_noted("term_begins")
            await services.post(200)
            await services.until_relayed()
            refused = [e for e in a.exits(LOCK) if isinstance(e, Failed)]
            assert any("stale" in str(e.error) for e in refused)
            await services.check_relayed()
            services.check_once()

    run(main)
