"""The simulated Kafka keeps Kafka's promises, whatever happens to its brokers (F2, G4).

Hypothesis chooses what fails and when, while two hosts append and read. Then all heals, and the log must agree with what
appenders and readers were told: by the model below, which knows nothing of replicas.
"""

import asyncio

import hypothesis.strategies as st
from attrs import define, field
from hypothesis import event, given, settings
from support.effort import examples
from support.simulated_kafka import TOPIC, cluster, open_log, post

from forebay.backends.errors import Unavailable, UnknownOutcome
from forebay.backends.ports import Acks, OutOfRange, Want
from forebay.scenarios.loop import run

ZONES = {1: "a", 2: "b", 3: "c", 4: "a"}
HOSTS = ("a", "b")
BROKER = st.sampled_from([1, 2, 3, 4])
HOST = st.sampled_from(HOSTS)
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["kill", "kill", "stop", "start", "start", "lag", "catch_up"]), BROKER),
    st.tuples(st.just("move_leader"), st.just(TOPIC), st.just(0), BROKER),
    st.tuples(st.sampled_from(["kill_zone", "start_zone"]), st.sampled_from(["a", "b"])),
    st.tuples(st.sampled_from(["strand", "strand", "swap", "swap"])),
    st.tuples(st.just("restart"), st.sampled_from([0.5, 20.0])),
    st.tuples(st.sampled_from(["cut", "mend"]), HOST),
    st.tuples(st.just("break_answers"), st.sampled_from([0.0, 0.3])),
    st.tuples(st.just("set_latency"), st.sampled_from([0.001, 0.5])),
)
PAUSES = st.sampled_from([0.0, 0.003, 0.2, 2.0, 10.0, 35.0])
STEPS = st.lists(st.tuples(st.one_of(ACTIONS, st.just(("append",))), PAUSES), min_size=1, max_size=30)
SHAPES = st.sampled_from([(3, 2), (3, 1), (2, 1), (4, 2)])
SEEDS = st.integers(0, 3)


@define
class Told:
    """What appenders and readers were told."""

    answered: dict[bytes, tuple[Acks, int]] = field(factory=dict)  # value -> acks, offset
    unknown: set[bytes] = field(factory=set)
    refused: set[bytes] = field(factory=set)
    seen: dict[tuple[int, int], bytes] = field(factory=dict)  # offset, epoch -> value
    highs: list[int] = field(factory=list)

    @property
    def sent(self):
        return self.answered.keys() | self.unknown | self.refused

    def saw(self, records):
        for record in records:
            assert self.seen.setdefault((record.offset, record.epoch), record.value) == record.value


async def append(log, value, acks, told):
    try:
        (offset,) = await post(log, value, acks=acks)
    except UnknownOutcome:
        told.unknown.add(value)
    except Unavailable:
        told.refused.add(value)
    else:
        told.answered[value] = (acks, offset)


async def follow(log, told):
    """Read on and on, from the beginning again where the log was cut."""
    position = 0
    while True:
        try:
            connection = await log.connect(TOPIC)
            while True:
                found = (await connection.fetch({0: Want(position, 7)}, 1.0)).get(0, ())
                if isinstance(found, OutOfRange):
                    assert not found.extent.start <= position <= found.extent.end
                    position = found.extent.start
                else:
                    told.saw(found)
                    position = found[-1].offset + 1 if found else position
        except Unavailable:
            await asyncio.sleep(1.0)


def strike(kafka, what, *arguments):
    """Do one thing to the cluster."""
    leader = kafka.leader(TOPIC, 0)
    others = [broker for broker in kafka.brokers if broker != leader]
    if what == "strand":  # the leader alone goes on
        for broker in others:
            kafka.stop(broker)
    elif what == "swap":  # it dies, and those are there that were not
        for broker in others:
            kafka.start(broker)
        if leader is not None:
            kafka.kill(leader)
    elif what != "append":
        getattr(kafka, what)(*arguments)


async def suffer(kafka, logs, steps, told):
    """Play the steps; return the appends that are under way."""
    appends = []
    for number, ((what, *arguments), pause) in enumerate(steps):
        for host, log in logs.items():
            acks = Acks.ALL if number % 2 else Acks.LEADER
            value = b"%s %d" % (host.encode(), number)
            appends.append(asyncio.create_task(append(log, value, acks, told)))
        strike(kafka, what, *arguments)
        await asyncio.sleep(pause)
        told.highs.append(kafka.partition(TOPIC, 0).high)
    return appends


async def play(steps, shape, unclean):
    replication, min_insync = shape
    more = {"replication": replication, "min_insync": min_insync}
    kafka, log = await cluster(zones=ZONES, unclean=unclean, **more)
    logs = {"a": log, "b": await open_log(kafka, "b", **more)}
    told = Told()
    readers = [asyncio.create_task(follow(log, told)) for log in logs.values()]
    appends = await suffer(kafka, logs, steps, told)
    kafka.heal()
    await asyncio.sleep(60)
    assert all(task.done() for task in appends)
    for task in appends:
        task.result()
    assert await post(log, b"last") == [kafka.extent(TOPIC, 0).end - 1]
    for reader in readers:
        assert not reader.done() or reader.result()
        reader.cancel()
    return kafka, told


def check_copies(kafka):
    """All copies are in sync and the same."""
    partition = kafka.partition(TOPIC, 0)
    assert sorted(partition.insync) == sorted(partition.replicas)
    copies = [replica.between(0, replica.end) for replica in partition.replicas.values()]
    assert all(copy == copies[0] for copy in copies)
    epochs = [record.epoch for record in copies[0]]
    assert epochs == sorted(epochs)
    assert [record.offset for record in copies[0]] == list(range(len(copies[0])))


def check_told(kafka, told):
    """The log has nothing that was refused, and nothing twice but what two leaders may have taken."""
    values = [record.value for record in kafka.records(TOPIC, 0)][:-1]
    assert not told.refused.intersection(values)
    assert told.sent.issuperset(values)
    for value in values:
        acks, _ = told.answered.get(value, (Acks.ALL, 0))
        assert values.count(value) == 1 or acks is Acks.ALL


@settings(max_examples=examples(40, 400))
@given(STEPS, SHAPES, SEEDS, st.booleans())
def test_a_clean_cluster_loses_nothing_that_all_acknowledged_and_shows_nothing_that_it_loses(steps, shape, seed, explore):
    kafka, told = run(play, steps, shape, False, seed=seed, explore=explore)
    check_copies(kafka)
    check_told(kafka, told)
    places = {(record.offset, record.epoch, record.value) for record in kafka.records(TOPIC, 0)}
    values = {offset: value for offset, _, value in places}
    lost = [(value, acks) for value, (acks, offset) in told.answered.items() if values.get(offset) != value]
    assert not [value for value, acks in lost if acks is Acks.ALL]
    assert told.highs == sorted(told.highs)
    assert places.issuperset((*place, value) for place, value in told.seen.items())
    assert kafka.counts["unclean_elections"] == kafka.counts["cut"] == 0
    event("a leader's tail was lost" if lost else "no tail was lost")
    assert not lost or kafka.counts["elections"] > 1
    for what in ("unknown", "refused"):
        if getattr(told, what):
            event(f"an append was {what}")


@settings(max_examples=examples(40, 400))
@given(STEPS, SHAPES, SEEDS, st.booleans())
def test_an_unclean_cluster_says_by_epoch_and_extent_what_it_has_lost(steps, shape, seed, explore):
    kafka, told = run(play, steps, shape, True, seed=seed, explore=explore)
    check_copies(kafka)
    check_told(kafka, told)
    records = {(record.offset, record.epoch): record.value for record in kafka.records(TOPIC, 0)}
    gone = [place for place, value in told.seen.items() if records.get(place) != value]
    assert all(place not in records for place in gone)
    event("what readers saw was cut" if gone else "readers saw nothing that was cut")
    assert not gone or kafka.counts["cut"] > 0
    if not kafka.counts["unclean_elections"]:
        assert told.highs == sorted(told.highs)
