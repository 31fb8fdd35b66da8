"""Worker pools, as a runtime's tree has them, on virtual time and the embedded queue's SQL."""

import asyncio
import contextlib
import itertools
import json
import sys
from random import Random

import anyio
from attrs import define
from msgspec.structs import replace
from support.flaky import Faults, Flaky
from support.inline import InlineEmbedded
from support.relay import Term, job

from forebay.actors.events import Exited, Noted, Started
from forebay.actors.mailbox import MailboxSpec
from forebay.actors.process import Limits
from forebay.actors.work.dispatcher import Dispatcher
from forebay.actors.work.lease_keeper import LeaseKeeper
from forebay.actors.work.reaper import Reaper
from forebay.actors.work.scheduler import Scheduler
from forebay.actors.work.sweep import Pace
from forebay.actors.work.worker_slot import CANCEL_PATIENCE, WorkerSlot
from forebay.backends.ports import JobState
from forebay.config.values import Backoff, Intensity
from forebay.jobs.policy import RetryPolicy
from forebay.jobs.registry import Registry
from forebay.scenarios.loop import running_loop
from forebay.scenarios.virtual import virtual_runtime
from forebay.supervisors.spec import ChildSpec, Strategy, SupervisorSpec

KEEPER = "/workers/lease_keeper"
SLOTS = "/workers/slots"
DISPATCHER = "/workers/dispatcher"
TTL = 9.0
BACKOFF = Backoff(0.05, 1.0)
ATTEMPTS = 3


def slot(number):
    return f"{SLOTS}/slot[{number}]"


@define
class Entry:
    """One run of a handler, as the handler itself saw it."""

    id: str
    attempt: int
    begun: float
    ended: float | None = None
    how: str | None = None


class Diary:
    """What handlers did."""

    def __init__(self):
        self.entries = []

    @contextlib.contextmanager
    def run(self, context):
        loop = asyncio.get_running_loop()
        entry = Entry(context.id, context.attempt, loop.time())
        self.entries.append(entry)
        try:
            yield
        finally:
            error = sys.exc_info()[1]
            entry.how = "done" if error is None else type(error).__name__
            entry.ended = loop.time()

    async def begun(self, count=1, within=600.0):
        """Wait until so many handlers run."""
        async with asyncio.timeout(within):
            while len(self.running) < count:
                await asyncio.sleep(0.001)

    def of(self, id_):
        return [entry for entry in self.entries if entry.id == id_]

    def ids(self, how):
        return [entry.id for entry in self.entries if entry.how == how]

    @property
    def overlaps(self):
        """Pairs of runs of one job that went on at the same time, for longer than an instant."""
        pairs = itertools.combinations(self.entries, 2)
        return [(a, b) for a, b in pairs if a.id == b.id and (a.ended is None or a.ended > b.begun)]

    @property
    def running(self):
        return [entry for entry in self.entries if entry.ended is None]


def handlers(diary):
    """`work` does what its arguments say: seconds to run, and up to which attempt to fail after that."""
    registry = Registry()

    async def work(context):
        with diary.run(context):
            await asyncio.sleep(context.args.get("seconds", 0))
            if context.attempt <= context.args.get("failures", 0):
                raise ValueError(f"attempt {context.attempt} of {context.id} fails")

    registry.job("work", retry=RetryPolicy(ATTEMPTS, 0.1, 2.0))(work)
    return registry


class Shop:
    """The queues of one test, which outlive every pool."""

    def __init__(self, topics=("jobs",), queues=1, seed=0):
        clock = running_loop().clock
        self.stores = [InlineEmbedded(None, clock, Random(f"{seed}:{n}")) for n in range(queues)]
        self.topics = topics
        self.routes = {topic: self.stores[n % queues].queue() for n, topic in enumerate(topics)}
        self.terms = {}
        self.posted = {}

    async def start(self):
        for store in self.stores:
            await store.start()
        for topic, queue in self.routes.items():
            self.terms[topic] = await Term(queue, topic=topic).begin()

    async def stop(self):
        for store in self.stores:
            await store.stop()

    async def post(self, id_, topic=None, type_="work", not_before=0, **args):
        topic = topic or self.topics[0]
        raw = json.dumps(args).encode()
        self.posted[id_] = topic
        made = job(id_, args=raw, enqueued_at=running_loop().clock.wall(), not_before=not_before)
        await self.terms[topic].write(lambda offset: _typed(made(offset), type_))

    async def counts(self):
        return [await queue.counts(topic) for topic, queue in self.routes.items()]

    async def finished(self, within=600.0):
        """Wait until no job is unfinished, looking on once per virtual second."""
        async with asyncio.timeout(within):
            while any(c.unfinished for c in await self.counts()):
                await asyncio.sleep(1)

    async def dead(self):
        found = [await queue.browse(topic, JobState.DEAD, 10_000) for topic, queue in self.routes.items()]
        return {view.id: view for views in found for view in views}

    async def leased(self):
        return sum(c.in_flight for c in await self.counts())

    async def claimed(self, within=60.0):
        """Wait until a job is leased."""
        async with asyncio.timeout(within):
            while not await self.leased():
                await asyncio.sleep(0.001)


def _typed(queued, type_):
    return replace(queued, type=type_)


class Pool:
    """One process with workers: its own runtime, and its own faults on the way to each queue, which `wrap` may wrap.

    `restarts` is the backoff of slots; by default it is so short that a test need not wait for it. `backoff` is that of
    calls to a queue that is away.
    """

    def __init__(
        self, shop, registry, name="a", slots=3, drain=2.0, ttl=TTL, wrap=lambda queue: queue, restarts=None, backoff=BACKOFF
    ):
        self.shop, self.registry, self.name = shop, registry, name
        self.restarts, self.backoff = restarts, backoff
        self.slots, self.drain, self.ttl = slots, drain, ttl
        random = running_loop().streams.stream(f"faults {name}")
        flaky = {id(queue): Flaky(wrap(queue), Faults(random)) for queue in shop.routes.values()}
        self.routes = {topic: flaky[id(queue)] for topic, queue in shop.routes.items()}
        self.faults = [port.faults for port in flaky.values()]
        self.queues = list(flaky.values())
        self.runtime = virtual_runtime(SupervisorSpec(children=[ChildSpec("workers", self.tree())]), deadline=60.0)
        self.events = self.runtime.events.subscribe(1_000_000)
        self.seen = []

    def tree(self):
        threads = anyio.CapacityLimiter(self.slots)
        pace = Pace(0.01, 1.0)
        slots = [
            ChildSpec(f"slot[{n}]", lambda: self._slot(threads), limits=Limits(shutdown=self.drain + CANCEL_PATIENCE + 1))
            for n in range(self.slots)
        ]
        patient = {"intensity": Intensity(1000, 1.0), "backoff": Backoff(0.001, 0.002)}
        slow = patient if self.restarts is None else {"intensity": Intensity(1, 1.0), "backoff": self.restarts}
        children = [
            ChildSpec("lease_keeper", self._keeper, limits=Limits(shutdown=5.0, drain=True)),
            ChildSpec("slots", SupervisorSpec(Strategy.DYNAMIC, slots, **slow)),
            ChildSpec("dispatcher", self._dispatcher, mailbox=MailboxSpec(keep=False)),
            ChildSpec("scheduler", lambda: Scheduler(routes=self.routes, pace=pace, backoff=BACKOFF)),
            ChildSpec("reaper", lambda: Reaper(routes=self.routes, pace=pace, backoff=BACKOFF)),
        ]
        return SupervisorSpec(Strategy.REST_FOR_ONE, children, **patient)

    def _keeper(self):
        return LeaseKeeper(routes=self.routes, instance=self.name, ttl=self.ttl, backoff=self.backoff)

    def _slot(self, threads):
        return WorkerSlot(registry=self.registry, threads=threads, keeper=KEEPER, dispatcher=DISPATCHER, drain=self.drain)

    def _dispatcher(self):
        return Dispatcher(
            routes=self.routes,
            keeper=KEEPER,
            slots=[slot(n) for n in range(self.slots)],
            ttl=self.ttl,
            claim_limit=10,
            backoff=BACKOFF,
        )

    def history(self):
        """Every event so far."""
        self.seen += self.events.drain()
        return self.seen

    def notes(self, name):
        return [dict(e.fields) for e in self.history() if isinstance(e, Noted) and e.name == name]

    def starts(self, path):
        return [e.incarnation for e in self.history() if isinstance(e, Started) and e.path == path]

    def exits(self, path):
        return [e.exit for e in self.history() if isinstance(e, Exited) and e.path == path]

    def recorded(self, kind):
        """How many outcomes of a kind the keeper saw recorded."""
        return sum(note.get(kind, 0) for note in self.notes("recorded"))

    def calls(self, name):
        return sum(queue.calls.get(name, 0) for queue in self.queues)

    def heal(self):
        for faults in self.faults:
            faults.heal()


@contextlib.asynccontextmanager
async def working(names=("a",), topics=("jobs",), queues=1, registry=None, **options):
    """A shop, a diary and running pools; everything has stopped at the end."""
    shop, diary = Shop(topics, queues), Diary()
    await shop.start()
    pools = [Pool(shop, registry or handlers(diary), name, **options) for name in names]
    try:
        for pool in pools:
            await pool.runtime.start()
        yield shop, diary, *pools
    finally:
        for pool in pools:
            pool.heal()
            await pool.runtime.stop()
        await shop.stop()
