"""The simulated Kafka under faults: what survives, what a client is told, and what readers see (F2, G4)."""

import asyncio

import pytest
from support.simulated_kafka import HOUR, TOPIC, cluster, open_log, outcome, post, read, spec, visible

from forebay.backends.errors import BackendError, RecordTooLarge, Unavailable, UnknownOutcome
from forebay.backends.ports import Acks, Extent, NewRecord, OutOfRange
from forebay.scenarios.loop import run, running_loop
from forebay.scenarios.simulation.kafka import SESSION_TIMEOUT
from forebay.scenarios.simulation.kafka_brokers import LAG_MAX
from forebay.scenarios.simulation.kafka_partition import Partition
from forebay.scenarios.simulation.kafka_topics import assigned
from forebay.scenarios.simulation.network import Refused
from forebay.scenarios.simulation.process import Process


def virtual(main):
    """Run a test on a virtual loop. Under another name pytest would run the coroutine itself on a real one."""

    def test():
        run(main)

    test.__name__ = main.__name__
    test.__doc__ = main.__doc__
    return test


# --- what a client is told


@virtual
async def test_without_a_broker_every_call_is_unavailable_at_once():
    kafka, log = await cluster()
    connection = await log.connect(TOPIC)
    for broker in kafka.brokers:
        kafka.kill(broker)
    for call in (post(log, b"x"), connection.extents(), read(connection), connection.commit({0: 1}), log.connect(TOPIC)):
        error, seconds = await outcome(call)
        assert type(error) is Unavailable
        assert seconds == 0


@virtual
async def test_an_append_of_a_host_that_is_cut_off_has_an_unknown_outcome_and_is_not_in():
    kafka, log = await cluster()
    kafka.cut("a")
    error, seconds = await outcome(post(log, b"x"))
    assert type(error) is UnknownOutcome
    assert seconds == 10.0
    assert visible(kafka) == []


@virtual
async def test_an_append_whose_answer_is_lost_has_an_unknown_outcome_and_is_in():
    kafka, log = await cluster()
    kafka.break_answers(1.0)
    error, seconds = await outcome(post(log, b"x"))
    assert type(error) is UnknownOutcome
    assert seconds < 1
    assert visible(kafka) == [b"x"]
    assert kafka.network.broken == 1


@virtual
async def test_a_cut_between_a_request_and_its_answer_leaves_the_record_in():
    kafka, log = await cluster(latency=1.0)
    other = await open_log(kafka, "b")
    appending = asyncio.create_task(outcome(post(log, b"x", acks=Acks.LEADER)))
    while kafka.partition(TOPIC, 0).log.end == 0:
        await asyncio.sleep(0.001)
    kafka.cut("a")
    error, _ = await appending
    assert type(error) is UnknownOutcome
    assert visible(kafka) == [b"x"]
    assert await post(other, b"y") == [1]


@virtual
async def test_a_host_that_is_cut_off_reads_nothing_and_others_do():
    kafka, log = await cluster()
    other = await open_log(kafka, "b")
    connection = await log.connect(TOPIC)
    kafka.cut("a")
    await post(other, b"x")
    for call in (read(connection, wait=1.0), connection.extents()):
        error, _ = await outcome(call)
        assert type(error) is Unavailable
    kafka.mend("a")
    assert [record.value for record in await read(connection)] == [b"x"]


@virtual
async def test_with_too_few_in_sync_acks_all_is_unavailable_after_the_timeout_and_writes_nothing():
    kafka, log = await cluster()
    kafka.stop(2)
    kafka.stop(3)
    error, seconds = await outcome(post(log, b"all"))
    assert type(error) is Unavailable
    assert seconds == pytest.approx(10.0, abs=0.2)
    assert await post(log, b"leader", acks=Acks.LEADER) == [0]
    assert visible(kafka) == [b"leader"]


@virtual
async def test_an_append_whose_leader_dies_while_replicas_take_it_has_an_unknown_outcome():
    kafka, log = await cluster()
    kafka.lag(2)
    kafka.lag(3)
    appending = asyncio.create_task(outcome(post(log, b"x")))
    await asyncio.sleep(1)
    kafka.kill(1)
    error, seconds = await appending
    assert type(error) is UnknownOutcome
    assert seconds < 2


@virtual
async def test_an_append_waits_for_the_election_of_a_new_leader():
    kafka, log = await cluster()
    kafka.kill(1)
    begin = running_loop().time()
    assert await post(log, b"x") == [0]
    assert running_loop().time() - begin == pytest.approx(SESSION_TIMEOUT, abs=0.5)
    assert kafka.leader(TOPIC, 0) == 2
    assert kafka.insync(TOPIC, 0) == (2, 3)


@virtual
async def test_a_process_that_is_killed_does_not_take_its_append_back():
    kafka, log = await cluster(latency=1.0)
    process = Process(running_loop(), "a", 1)
    call = asyncio.ensure_future(process.run(lambda: post(log, b"x", acks=Acks.LEADER)))
    await asyncio.sleep(1e-6)
    process.kill()
    assert kafka.partition(TOPIC, 0).log.end == 0
    await asyncio.sleep(10)
    assert call.exception() is not None
    assert visible(kafka) == [b"x"]


@virtual
async def test_stopping_a_log_ends_what_is_under_way():
    kafka, log = await cluster()
    connection = await log.connect(TOPIC)
    kafka.lag(2)
    kafka.lag(3)
    calls = [asyncio.create_task(outcome(call)) for call in (post(log, b"x"), read(connection, wait=100.0))]
    await asyncio.sleep(1)
    await log.stop()
    (append, _), (fetch, _) = [await call for call in calls]
    assert type(append) is UnknownOutcome
    assert type(fetch) is Unavailable
    assert running_loop().time() < 2


@virtual
async def test_the_part_of_an_append_that_is_in_makes_its_outcome_unknown():
    kafka, log = await cluster(partitions=2, replication=1, min_insync=1)
    kafka.kill(kafka.leader(TOPIC, 1))
    records = [NewRecord(TOPIC, partition, b"%d" % partition) for partition in (0, 1)]
    error, _ = await outcome(log.append(records, Acks.LEADER))
    assert type(error) is UnknownOutcome
    assert visible(kafka) == [b"0"]


# --- what survives


@virtual
async def test_what_the_leader_alone_had_is_lost_with_it_and_readers_never_saw_it():
    kafka, log = await cluster()
    kafka.lag(2)
    kafka.lag(3)
    assert await post(log, b"lost", acks=Acks.LEADER) == [0]
    assert visible(kafka) == []
    kafka.kill(1)
    await asyncio.sleep(SESSION_TIMEOUT + 0.1)
    kafka.catch_up(2)
    kafka.catch_up(3)
    assert await post(log, b"kept") == [0]
    kafka.start(1)
    await asyncio.sleep(1)
    assert kafka.insync(TOPIC, 0) == (2, 3, 1)
    assert kafka.counts["truncated"] == 1
    assert kafka.move_leader(TOPIC, 0, 1)
    assert visible(kafka) == [b"kept"]


@virtual
async def test_a_clean_cluster_waits_for_the_last_that_was_in_sync():
    kafka, log = await cluster(min_insync=1)
    kafka.stop(3)
    await post(log, b"x", acks=Acks.LEADER)
    kafka.stop(2)
    await post(log, b"y", acks=Acks.LEADER)
    kafka.kill(1)
    kafka.start(2)
    kafka.start(3)
    await asyncio.sleep(100)
    assert kafka.leader(TOPIC, 0) is None
    with pytest.raises(Refused):
        kafka.records(TOPIC, 0)
    error, _ = await outcome(post(log, b"z", acks=Acks.LEADER))
    assert type(error) is Unavailable
    kafka.start(1)
    assert visible(kafka) == [b"x", b"y"]
    assert kafka.counts["unclean_elections"] == kafka.counts["cut"] == 0


@virtual
async def test_an_unclean_election_cuts_and_others_records_take_the_places():
    """What `Record.epoch` and `OutOfRange` are for: see docs/semantics.md, M10."""
    kafka, log = await cluster(min_insync=1)
    connection = await log.connect(TOPIC)
    await post(log, b"kept", acks=Acks.LEADER)
    await asyncio.sleep(1)
    kafka.stop(2)
    kafka.stop(3)
    await post(log, b"cut 1", b"cut 2", b"cut 3", acks=Acks.LEADER)
    before = await read(connection)
    assert [record.value for record in before] == [b"kept", b"cut 1", b"cut 2", b"cut 3"]
    kafka.kill(1)
    kafka.start(2)
    await asyncio.sleep(SESSION_TIMEOUT + 1)
    kafka.set_unclean(True)
    assert await read(connection, 4) == OutOfRange(Extent(0, 1))
    await post(log, *[b"new %d" % number for number in range(5)], acks=Acks.LEADER)
    after = await read(connection)
    assert [record.value for record in after][:3] == [b"kept", b"new 0", b"new 1"]
    assert before[0] == after[0]
    assert after[1].epoch > before[1].epoch
    kafka.start(1)
    await asyncio.sleep(1)
    assert kafka.counts["unclean_elections"] == 1
    assert kafka.counts["cut"] == kafka.counts["truncated"] == 3
    assert kafka.move_leader(TOPIC, 0, 1)
    assert visible(kafka) == [record.value for record in after]


@virtual
async def test_a_restart_of_the_whole_cluster_loses_nothing_that_replicas_had():
    kafka, log = await cluster(partitions=3)
    await post(log, b"x", b"y")
    for seconds in (1.0, 60.0):
        kafka.restart(seconds)
        await asyncio.sleep(seconds + SESSION_TIMEOUT + 1)
        assert visible(kafka) == [b"x", b"y"]
        assert [len(kafka.insync(TOPIC, number)) for number in range(3)] == [3, 3, 3]
    assert await post(log, b"z") == [2]


@virtual
async def test_a_zone_that_dies_leaves_every_partition_a_leader():
    zones = {1: "a", 2: "b", 3: "c", 4: "a"}
    kafka, log = await cluster(zones=zones, partitions=8)
    kafka.kill_zone("a")
    await asyncio.sleep(SESSION_TIMEOUT + 1)
    assert {kafka.leader(TOPIC, number) for number in range(8)} <= {2, 3}
    assert await post(log, b"x") == [0]
    kafka.start_zone("a")
    await asyncio.sleep(1)
    assert all(len(kafka.insync(TOPIC, number)) == 3 for number in range(8))
    with pytest.raises(LookupError, match="zones are"):
        kafka.kill_zone("d")


def test_copies_lie_in_as_many_zones_as_there_are_and_leaders_take_turns():
    zones = {1: "a", 2: "b", 3: "c", 4: "a"}
    places = [assigned(number, 3, zones) for number in range(4)]
    assert [{zones[broker] for broker in brokers} for brokers in places] == [{"a", "b", "c"}] * 4
    assert [brokers[0] for brokers in places] == [1, 2, 3, 4]
    assert sorted(assigned(1, 4, zones)) == [1, 2, 3, 4]


@virtual
async def test_a_broker_that_is_stopped_hands_over_at_once():
    kafka, log = await cluster()
    kafka.stop(1)
    _, seconds = await outcome(post(log, b"x"))
    assert seconds < 0.2
    assert kafka.counts["unclean_elections"] == 0


@virtual
async def test_a_follower_that_lags_holds_readers_up_until_it_is_out_of_sync():
    kafka, log = await cluster()
    kafka.lag(3)
    await post(log, b"x", acks=Acks.LEADER)
    await asyncio.sleep(1)
    assert visible(kafka) == []
    await asyncio.sleep(LAG_MAX)
    assert visible(kafka) == [b"x"]
    assert kafka.insync(TOPIC, 0) == (1, 2)
    kafka.catch_up(3)
    await asyncio.sleep(1)
    assert kafka.insync(TOPIC, 0) == (1, 2, 3)


def test_what_a_follower_had_of_another_leader_does_not_count():
    partition = Partition(TOPIC, 0, [1, 2, 3], min_insync=1, compact=False, moved=lambda _: None)
    partition.elect([1, 2, 3], unclean=False)

    def take(value):
        partition.append([NewRecord(TOPIC, 0, value)], 0, Acks.LEADER, lambda _: None)

    take(b"both")
    partition.follow(2)
    partition.follow(3)
    take(b"one")
    partition.follow(3)
    assert partition.lost() == []
    assert partition.move(2)
    assert {record.value for record in partition.lost()} == {b"one"}  # also while no follower has asked again (seed 8587)
    partition.drop(1)
    take(b"new")
    assert (partition.high, partition.log.end) == (1, 2)
    assert partition.follow(3) == 1
    assert {record.value for record in partition.lost()} == {b"one"}
    assert [record.value for record in partition.read(0, 9)] == [b"both", b"new"]


# --- reading


@virtual
async def test_what_can_be_asked_again_is_when_a_connection_breaks():
    kafka, log = await cluster()
    connection = await log.connect(TOPIC)
    await post(log, b"x")
    kafka.break_answers(0.5)
    for _ in range(20):
        assert await connection.extents() == {0: Extent(0, 1)}
        assert [record.value for record in await read(connection, wait=60.0)] == [b"x"]
    kafka.break_answers(1.0)
    assert await outcome(read(connection, wait=1.0)) == (None, pytest.approx(1.0, abs=0.1))
    error, seconds = await outcome(connection.extents())
    assert type(error) is Unavailable
    assert seconds == pytest.approx(10.0, abs=0.2)


@virtual
async def test_a_fetch_that_waits_goes_on_under_the_next_leader():
    kafka, log = await cluster()
    connection = await log.connect(TOPIC)
    waiting = asyncio.create_task(read(connection, wait=60.0))
    await asyncio.sleep(1)
    kafka.kill(1)
    await post(log, b"x")
    assert [record.value for record in await waiting] == [b"x"]


@virtual
async def test_retention_removes_what_nobody_has_read():
    kafka, log = await cluster(retention=HOUR)
    connection = await log.connect(TOPIC)
    await post(log, b"old", b"old")
    await asyncio.sleep(HOUR / 2)
    await post(log, b"young")
    await asyncio.sleep(HOUR * 0.6)
    assert await read(connection) == OutOfRange(Extent(2, 3))
    assert await connection.extents() == {0: Extent(2, 3)}
    kafka.forget(TOPIC, 0, 3)
    assert await connection.extents() == {0: Extent(3, 3)}
    await asyncio.sleep(HOUR)
    assert await post(log, b"next") == [3]


@virtual
async def test_a_compacted_topic_drops_what_has_a_younger_record_of_its_key():
    kafka, log = await cluster(compact=True)
    for number in range(500):
        await log.append([NewRecord(TOPIC, 0, b"%d" % number, key=b"%d" % (number % 3))], Acks.ALL)
    connection = await log.connect(TOPIC)
    found = await read(connection)
    assert len(found) < 200
    assert [record.value for record in found][-3:] == [b"497", b"498", b"499"]
    kafka.stop(1)
    assert {record.key: record.value for record in await read(connection)} == {b"2": b"497", b"0": b"498", b"1": b"499"}


# --- topics


@virtual
async def test_acks_all_is_refused_where_elections_may_be_unclean():
    """G4."""
    _, log = await cluster(unclean=True)
    assert list(log.offers(TOPIC)) == [Acks.LEADER]
    with pytest.raises(BackendError, match=r"unclean\.leader\.election\.enable must be false"):
        await log.ensure([spec(acks=Acks.ALL)])


@virtual
async def test_acks_all_needs_three_brokers():
    """G4."""
    _, log = await cluster(zones={1: "a", 2: "b"})
    with pytest.raises(BackendError, match="needs 3 brokers"):
        await log.ensure([spec(name="other", acks=Acks.ALL)])
    with pytest.raises(RecordTooLarge):
        await post(log, b"x" * (2 << 20))


@virtual
async def test_healing_ends_every_fault():
    kafka, log = await cluster()
    kafka.cut("a")
    kafka.kill(1)
    kafka.stop(2)
    kafka.lag(3)
    kafka.set_latency(5.0)
    kafka.break_answers(1.0)
    kafka.unclean = True
    kafka.heal()
    await asyncio.sleep(1)
    _, seconds = await outcome(post(log, b"x"))
    assert seconds < 0.2
    assert visible(kafka) == [b"x"]
    assert len(kafka.insync(TOPIC, 0)) == 3
    assert not kafka.unclean
