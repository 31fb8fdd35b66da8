"""The relay of one topic, as a runtime's tree has it, on virtual time and the embedded stores' SQL."""

import asyncio
from contextlib import asynccontextmanager
from random import Random

from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded

from forebay.actors.events import Exited, Incident, Noted, Started
from forebay.actors.process import Limits
from forebay.actors.relay.ends_writer import EndsWriter
from forebay.actors.relay.kafka_connection import KafkaConnection
from forebay.actors.relay.partition_consumer import PartitionConsumer
from forebay.actors.relay.rate_limiter import RateLimiter
from forebay.actors.relay.redis_writer import RedisWriter
from forebay.actors.relay.settled_marks import SettledMarks
from forebay.actors.relay.snapshots import snapshots_spec
from forebay.actors.relay.topic_lock import TopicLock
from forebay.backends.end_records import ends_spec
from forebay.backends.errors import BackendError
from forebay.backends.ports import Acks, JobState, NewRecord, ParkedRecord, Token, TopicSpec, Want
from forebay.backends.sqlite import queue_relay
from forebay.config.values import Backoff, Intensity
from forebay.jobs import JobPost, encode
from forebay.jobs.lanes import retry_mark, retry_topic
from forebay.scenarios.loop import run as run_virtual
from forebay.scenarios.loop import running_loop
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, Restart, Strategy, SupervisorSpec

TOPIC = "jobs"
RELAY = f"/relays/relay[{TOPIC}]"
LOCK = f"{RELAY}/topic_lock"
LIMITER = f"{RELAY}/term/rate_limiter"
CONNECTION = f"{RELAY}/term/kafka_connection"
RETRY_CONNECTION = f"{RELAY}/term/retry_connection"
WRITER = f"{RELAY}/term/redis_writer"
MARKS = f"{RELAY}/term/settled_marks"
ENDS = f"{RELAY}/term/ends_writer"
LIMITS = Limits(shutdown=2.0)


HORIZON = 10_000.0  # seconds of virtual time after which a test that still waits has failed


def run(main, *args, seed=0):
    """Run a test on virtual time."""
    return run_virtual(main, *args, seed=seed, horizon=HORIZON)


def consumer(partition, lane="partition"):
    return f"{RELAY}/term/partitions/{lane}_consumer[{partition}]"


def specs(partitions):
    """The topic and those beside it."""
    topic, retry = (TopicSpec(name, partitions, 1e9, 1 << 24) for name in (TOPIC, retry_topic(TOPIC)))
    return [topic, retry, snapshots_spec(topic), ends_spec(topic)]


class RecordedQueue(Flaky):
    """The one queue of all instances; keeps every write that took effect: token, partition, start, to, outcome.

    It refuses a range that holds one of the ids in `poisons` as often as their number says. What its `unparkable` names is
    refused as a parked record too, unless it comes without bytes.
    """

    def __init__(self, queue):
        super().__init__(queue, Faults(Random(0)))
        self.writes = []
        self.poisons = {}
        self.unparkable = set()

    def refuse(self, items):
        for item in items:
            if isinstance(item, ParkedRecord):
                if item.value in self.unparkable:
                    raise BackendError(f"poisoned bytes {item.value!r}")
            elif self.poisons.get(item.id):
                if len(items) == 1:
                    self.poisons[item.id] -= 1
                raise BackendError(f"poisoned {item.id}")

    async def write(self, topic, token, epoch, partition, start, to, items, checkpoint=None, *, begins=True):
        self.refuse(items)
        written = await self.port.write(topic, token, epoch, partition, start, to, items, checkpoint, begins=begins)
        self.writes.append((token, partition, start, to, written))
        return written


class Services:
    """Log, queue and coordination of one test, shared by every instance, with a fault switch each."""

    def __init__(self, seed=0, partitions=3):
        self.partitions = partitions
        self.embedded = InlineEmbedded(None, running_loop().clock, Random(seed))
        self.posted = []
        self.log = self.embedded.log
        self.queue = RecordedQueue(self.embedded.queue())
        self.coordination = self.embedded.coordination

    async def start(self):
        await self.embedded.start()
        await self.log.ensure(specs(self.partitions))

    async def post(self, count, partition=None):
        """Append jobs; their ids are their numbers."""
        records = []
        for number in range(len(self.posted), len(self.posted) + count):
            place = number % self.partitions if partition is None else partition
            value, headers = encode(JobPost(type="t", args=b"%d" % number), id_=str(number), enqueued_at=0)
            records.append(NewRecord(TOPIC, place, value, headers=headers))
        offsets = await self.log.append(records, Acks.LEADER)
        self.posted += [(r.partition, o) for r, o in zip(records, offsets, strict=True)]

    async def forget(self, *, everything):
        """Make the queue lose its fences; with `everything`, its marks and jobs too, as an empty one in its place."""
        tables = ("topics", "marks", "checkpoints", "restored", "jobs", "parked") if everything else ("topics",)

        def lose(connection):
            for table in tables:
                connection.execute(f"DELETE FROM {table}")

        await self.embedded.queue()._database.run(lose)

    async def relayed(self):
        """Where each job in the queue came from, by id."""
        found, after = {}, ""
        while views := await self.queue.browse(TOPIC, JobState.PENDING, 1000, after):
            found |= {view.id: (view.partition, view.offset) for view in views}
            after = views[-1].id
        return found

    async def until_relayed(self, within=600.0):
        """Wait until as many jobs are in the queue as were posted."""
        loop = running_loop()
        deadline = loop.time() + within
        while (await self.queue.counts(TOPIC)).pending < len(self.posted):
            assert loop.time() < deadline, await self.queue.counts(TOPIC)
            await asyncio.sleep(0.1)

    async def until_accounted_for(self, within=600.0):
        """Wait until each job posted is in the queue or parked, and the retry lane is read to its end; return the parked."""
        loop = running_loop()
        deadline = loop.time() + within
        while True:
            jobs, parked = {int(id_) for id_ in await self.relayed()}, await self.parked()
            if jobs | parked == set(range(len(self.posted))) and await self.marks() == await self.ends():
                return parked
            assert loop.time() < deadline, await self.queue.counts(TOPIC)
            await asyncio.sleep(1.0)

    async def parked(self):
        """The jobs that are parked; what is there without bytes is looked up in the log, where it says that they are."""
        views = await self.queue.browse(TOPIC, JobState.PARKED, 1000)
        return {int(view.args or await self.bytes_at(view.id)) for view in views}

    async def bytes_at(self, place):
        topic, partition, offset = place.split("/")
        connection = await self.log.connect(topic)
        (record,) = (await connection.fetch({int(partition): Want(int(offset), 1)}, 0.0))[int(partition)]
        return record.value

    async def ends(self):
        """The ends of both lanes' partitions that have records, by their numbers in the queue."""
        lanes = [(await (await self.log.connect(name)).extents()).items() for name in (TOPIC, retry_topic(TOPIC))]
        numbers = (lambda partition: partition, retry_mark)
        return {number(p): e.end for number, lane in zip(numbers, lanes, strict=True) for p, e in lane if e.end}

    async def check_relayed(self):
        """Every record of the log is in the queue, from its own place, and the marks stand at the end."""
        assert await self.relayed() == {str(n): place for n, place in enumerate(self.posted)}
        await self.check_marks()

    async def check_marks(self):
        assert await self.marks() == await self.ends()

    async def marks(self):
        marks = await self.embedded.queue()._database.run(lambda connection: queue_relay._marks(connection, TOPIC))
        return {partition: mark.next for partition, mark in marks.items() if mark.next}

    def check_once(self, redelivered=False):
        """No range was written twice and none left out; no older term wrote after a newer one; nothing was doubled."""
        place = dict.fromkeys(range(self.partitions), 0)
        newest = Token(0, 0)
        for token, partition, start, to, written in self.queue.writes:
            assert token >= newest
            newest = token
            if start == to:
                continue  # asked only whether the queue takes anything
            assert start == place.get(partition, 0) < to
            place[partition] = to
            assert written.duplicates == 0
            assert redelivered or written.redelivered == 0


class Instance:
    """One process that may hold the topic: its own faults on the way to each service, its own runtime."""

    def __init__(self, services, name="a", seed=0, **options):
        self.services, self.name = services, name
        self.partitions = services.partitions  # as this process is configured
        self.prepare_fails = False
        self.options = {"ttl": 10.0, "lock_delay": 5.0, "rate": None, "batch": 50, "intensity": Intensity()} | options
        random = Random(f"{seed}:{name}")
        self.log = Flaky(services.log, Faults(random))
        self.retry_log = Flaky(services.log, self.log.faults)  # the same log, its calls counted apart
        self.queue = Flaky(services.queue, Faults(random))
        self.coordination = Flaky(services.coordination, Faults(random))
        self.faults = [port.faults for port in (self.log, self.queue, self.coordination)]
        self.runtime = Runtime(self.tree(), clock=running_loop().clock, seed=seed, deadline=60.0)
        self.events = self.runtime.events.subscribe(1_000_000)
        self.seen = []

    def tree(self):
        lock = ChildSpec("topic_lock", self._lock, limits=LIMITS)
        relay = SupervisorSpec(Strategy.REST_FOR_ONE, [lock], **self.supervision())
        return SupervisorSpec(
            children=[ChildSpec("relays", SupervisorSpec(Strategy.DYNAMIC, [ChildSpec(f"relay[{TOPIC}]", relay)]))]
        )

    def supervision(self):
        return {"backoff": Backoff(0.1, 1.0), "intensity": self.options["intensity"]}

    def _lock(self):
        return TopicLock(
            topic=TOPIC,
            partitions=self.partitions,
            coordination=self.coordination,
            queue=self.queue,
            ttl=self.options["ttl"],
            lock_delay=self.options["lock_delay"],
            instance=self.name,
            rank_delay=self.rank_delay,
            term_spec=self._term,
            prepare=self._prepare,
        )

    async def _prepare(self, partitions):
        if self.prepare_fails:
            raise BackendError("not today")
        await self.log.ensure(specs(partitions))

    async def rank_delay(self):
        return 0.0 if self.name == "a" else self.options.get("rank_delay", 0.0)

    def _term(self, term):
        partitions = [
            ChildSpec(f"{name}[{p}]", lambda p=p, retry=retry: self._consumer(term, p, retry), limits=LIMITS)
            for name, retry in (("partition_consumer", False), ("retry_consumer", True))
            for p in range(term.partitions)
        ]
        rate = self.options["rate"]
        children = [
            ChildSpec(
                "rate_limiter",
                lambda: RateLimiter(
                    topic=TOPIC, rate=rate, burst=rate or 1, coordination=self.coordination, queue=self.queue
                ),
                limits=LIMITS,
            ),
            ChildSpec(
                "kafka_connection",
                lambda: KafkaConnection(
                    topic=TOPIC,
                    log=self.log,
                    probe_interval=1.0,
                    silence_limit=10.0,
                    partitions=term.partitions,
                    topic_lock=LOCK,
                ),
                limits=LIMITS,
            ),
            ChildSpec(
                "retry_connection",
                lambda: KafkaConnection(
                    topic=retry_topic(TOPIC), log=self.retry_log, probe_interval=1.0, silence_limit=10.0
                ),
                limits=LIMITS,
            ),
            ChildSpec(
                "redis_writer",
                lambda: RedisWriter(term=term, queue=self.queue, log=self.log, acks=Acks.LEADER, topic_lock=LOCK),
                limits=LIMITS,
            ),
            ChildSpec(
                "settled_marks",
                lambda: SettledMarks(term=term, queue=self.queue, log=self.log, topic_lock=LOCK),
                limits=LIMITS,
            ),
            ChildSpec("partitions", SupervisorSpec(Strategy.DYNAMIC, partitions, **self.supervision())),
            ChildSpec(
                "ends_writer",
                lambda: EndsWriter(term=term, queue=self.queue, log=self.log, topic_lock=LOCK),
                limits=LIMITS,
            ),
        ]
        return ChildSpec(
            "term",
            SupervisorSpec(Strategy.REST_FOR_ONE, children, **self.supervision()),
            restart=Restart.TEMPORARY,
        )

    def _consumer(self, term, partition, retry):
        return PartitionConsumer(
            term=term,
            partition=partition,
            batch=self.options["batch"],
            rate_limiter=LIMITER,
            kafka_connection=RETRY_CONNECTION if retry else CONNECTION,
            redis_writer=WRITER,
            settled_marks=MARKS,
            retry=retry,
        )

    def history(self):
        """Every event so far."""
        self.seen += self.events.drain()
        return self.seen

    def started(self, since=0):
        return [(e.path, e.incarnation) for e in self.history()[since:] if isinstance(e, Started)]

    def incidents(self, since=0):
        return [e for e in self.history()[since:] if isinstance(e, Incident)]

    def exits(self, path):
        return [e.exit for e in self.history() if isinstance(e, Exited) and e.path == path]

    def notes(self, name):
        return [dict(e.fields) for e in self.history() if isinstance(e, Noted) and e.name == name]

    async def until_event(self, matches, since=0):
        """Wait for an event; what is waited for never comes too early to be seen."""
        for event in self.history()[since:]:
            if matches(event):
                return event
        async for event in self.events:
            self.seen.append(event)
            if matches(event):
                return event
        raise AssertionError("the stream ended")

    async def until_noted(self, name, times=1):
        """Wait until something was noted so often, from the beginning; return the last one's fields."""
        while len(self.notes(name)) < times:
            await self.until_event(lambda e: isinstance(e, Noted) and e.name == name, len(self.seen))
        return self.notes(name)[times - 1]

    async def until_started(self, path, incarnation):
        await self.until_event(lambda e: isinstance(e, Started) and (e.path, e.incarnation) == (path, incarnation))


@asynccontextmanager
async def relaying(seed=0, partitions=3, names=("a",), **options):
    """Services and running instances; everything has stopped at the end."""
    services = Services(seed, partitions)
    await services.start()
    instances = [Instance(services, name, seed, **options) for name in names]
    try:
        for instance in instances:
            await instance.runtime.start()
        yield services, *instances
    finally:
        for instance in instances:
            for faults in instance.faults:
                faults.heal()
            await instance.runtime.stop()
        await services.embedded.stop()
