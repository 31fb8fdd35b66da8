"""The tree of one process, written down once. The restart strategies are the failure model.

    /                                one_for_one
    |- stores                        one_for_one     an opener for each store that is a server's; exits StoreAway
    |- gates                         rest_for_one    producer, http_server
    |- relays                        dynamic         one child per topic, parked when it keeps failing
    |  |- membership                 says that this instance lives, so that the others leave it its share of the topics
    |  '- relay[topic]               rest_for_one
    |     |- topic_lock              waits for the lock; starts the term; exits LockLost
    |     '- term                    rest_for_one    temporary: exists only while the lock is held
    |        |- rate_limiter
    |        |- kafka_connection     exits BrokerGone
    |        |- retry_connection     the same, for the topic of jobs that the queue refused
    |        |- redis_writer         waits for ever while the queue is away
    |        |- settled_marks        says where to go on; snapshots of what has ended
    |        |- partitions           dynamic         partition_consumer[0..N-1], retry_consumer[0..N-1]
    |        |- retention_watch      says how long until the log deletes a job that has not ended
    |        '- ends_writer          brings dead and parked ones into the log
    |- workers                       rest_for_one    lease_keeper, slots (dynamic), dispatcher, scheduler, reaper
    '- console                       one_for_one     control (Unix socket), http_server

StoreAway crashes nobody else: whoever uses that store waits for it. LockLost ends the whole term. BrokerGone restarts
connections, writer and consumers once, as one incident. A consumer's own crash restarts it alone. A dispatcher's crash does
not touch running handlers, which live in slots before it. Every backend runs this same tree; `stores` is there where a
store is not embedded.

`partitions` and `slots` are dynamic for what that adds to one_for_one: their children stop all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from attrs import frozen
from starlette.routing import Route
from starlette.types import ASGIApp

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.events import EventStream
from forebay.actors.gate.app import gate_routes
from forebay.actors.gate.http_server import HttpServer
from forebay.actors.gate.messages import Tcp, Unix
from forebay.actors.gate.producer import Producer
from forebay.actors.gate.protocol import HttpLimits
from forebay.actors.hosts import own_hosts
from forebay.actors.mailbox import MailboxSpec
from forebay.actors.process import Limits
from forebay.actors.relay.balancer import Balancer
from forebay.actors.relay.ends_writer import EndsWriter
from forebay.actors.relay.kafka_connection import KafkaConnection
from forebay.actors.relay.membership import Membership
from forebay.actors.relay.messages import Term
from forebay.actors.relay.partition_consumer import PartitionConsumer
from forebay.actors.relay.ranking import Ranking
from forebay.actors.relay.rate_limiter import RateLimiter
from forebay.actors.relay.redis_writer import RedisWriter
from forebay.actors.relay.retention_watch import RetentionWatch
from forebay.actors.relay.settled_marks import SettledMarks
from forebay.actors.relay.topic_lock import LET_GO, TopicLock
from forebay.actors.snapshot import Node
from forebay.actors.watch.console import console_routes
from forebay.actors.watch.ended import newest_ends
from forebay.actors.watch.limits import limit_routes
from forebay.actors.watch.repairs import Repairs
from forebay.actors.watch.store_opener import StoreOpener
from forebay.actors.web import web_app
from forebay.actors.work.dispatcher import Dispatcher
from forebay.actors.work.lease_keeper import LeaseKeeper
from forebay.actors.work.reaper import Reaper
from forebay.actors.work.scheduler import Scheduler
from forebay.actors.work.sweep import Pace
from forebay.actors.work.worker_slot import CANCEL_PATIENCE, WorkerSlot
from forebay.backends.ports import Acks, Token
from forebay.config import Backoff, Config, GateConfig, Overflow, TopicConfig, WorkersConfig
from forebay.jobs import Registry
from forebay.jobs.lanes import retry_topic
from forebay.supervisors.spec import ChildSpec, Exhausted, Restart, Strategy, SupervisorSpec
from forebay.supervisors.stores import Stores

PRODUCER: Final = "/gates/producer"
GATE: Final = "/gates/http_server"
KEEPER: Final = "/workers/lease_keeper"
SLOTS: Final = "/workers/slots"
DISPATCHER: Final = "/workers/dispatcher"
CONTROL: Final = "/console/control"
CONSOLE: Final = "/console/http_server"

BRIEF: Final = 0.2
"""Seconds of grace for a role that has nothing to finish."""
CLOSING: Final = 1.0
"""Seconds of grace for a role that may just have a connection to close, and hands nothing back."""
TIDY: Final = 2.0
"""Seconds of grace for a role that hands something back: flushes, commits, releases, closes a connection."""

BATCH: Final = 500
"""Records that a consumer moves, and jobs that a dispatcher claims, at a time."""
BURST: Final = 1.0
"""Seconds' worth of a topic's rate that may be relayed at once after a quiet time."""
PROBE_INTERVAL: Final = 5.0
SILENCE_LIMIT: Final = 15.0
"""Seconds between two probes of the log, and without an answer until the log counts as gone."""
OPEN: Final = Backoff(base=0.1, cap=5.0)
"""Between tries to open a store that is away: its return is noticed within seconds, the log of a long outage is short."""
RANK_STEP: Final = 0.3
"""Seconds that a free topic is left to each living instance that should have it before this one."""
PROMOTE: Final = Pace(0.01, 1.0)
CONSOLE_LIMITS: Final = HttpLimits(max_connections=50, drain=0.2)


@frozen
class Parts:
    """What the tree is built from. Without `sockets` it has no HTTP server, and so no console."""

    config: Config
    stores: Stores
    registry: Registry
    instance: str
    control_socket: Path
    tree: Callable[[], Node]
    events: Callable[[], EventStream]
    sockets: bool = True


def relay_path(topic: str, role: str = "") -> str:
    """Return the path of a topic's relay, or of one of its roles (`topic_lock`, `term/redis_writer` ...)."""
    return f"/relays/relay[{topic}]" + (f"/{role}" if role else "")


def topology(parts: Parts) -> SupervisorSpec:
    """Return the whole tree."""
    config = parts.config
    children = [
        ChildSpec("gates", _gates(parts)),
        ChildSpec("relays", _relays(parts)),
    ]
    if parts.stores.remote:
        children.insert(0, ChildSpec("stores", _stores(parts)))
    if config.workers is not None:
        children.append(ChildSpec("workers", _workers(parts, config.workers)))
    if parts.sockets:
        children.append(ChildSpec("console", _console(parts)))
    return _supervisor(config, Strategy.ONE_FOR_ONE, children)


def _stores(parts: Parts) -> SupervisorSpec:
    """What cannot be used as configured is refused at the start; found out later, it is parked and tried again."""

    def opener(name: str) -> ChildSpec:
        return _actor(name, lambda: StoreOpener(partial(parts.stores.open, name)), grace=BRIEF)

    openers = [opener(name) for name in parts.stores.remote]
    supervision = parts.config.supervision
    return SupervisorSpec(
        strategy=Strategy.DYNAMIC,
        children=openers,
        intensity=supervision.intensity,
        backoff=OPEN,
        stable_after=supervision.stable_after,
        exhausted=Exhausted.PARK,
        cool_off=supervision.backoff.cap,
    )


def _gates(parts: Parts) -> SupervisorSpec:
    config, stores = parts.config, parts.stores
    producer = _actor(
        "producer",
        lambda: Producer(log=stores.log, apart=not config.log.url.embedded),
        grace=1.0,
        mailbox=MailboxSpec(10_000, Overflow.REJECT),
        drain=True,  # what was accepted is answered
    )
    children = [producer]
    if config.gate is not None and parts.sockets:
        gate = config.gate
        limits = HttpLimits(max_connections=gate.max_connections, header_timeout=gate.header_timeout, drain=TIDY / 2)
        bind = Tcp(gate.host, gate.port)

        def app(ctx: Context) -> ASGIApp:
            return web_app(_gate_routes(parts, ctx))

        children.append(_actor("http_server", lambda: HttpServer(app=app, bind=bind, limits=limits), grace=TIDY))
    return _supervisor(config, Strategy.REST_FOR_ONE, children)


def _gate_routes(parts: Parts, ctx: Context) -> list[Route]:
    config = parts.config
    return gate_routes(
        ctx,
        producer=PRODUCER,
        topics=config.topics,
        config=config.gate or GateConfig(),
        offers=parts.stores.log.offers,
        known_types=parts.registry.types() if config.workers is not None else None,
    )


def _console_routes(parts: Parts) -> list[Route]:
    stores = parts.stores
    repairs = Repairs(stores.log, stores.routes, parts.config.topics)
    ends = partial(newest_ends, stores.log)
    routes = console_routes(tree=parts.tree, events=parts.events(), queues=stores.routes, repairs=repairs, ends=ends)
    return [*routes, *_limit_routes(parts)]


def _limit_routes(parts: Parts) -> list[Route]:
    configured = {topic.name: topic.rate for topic in parts.config.topics}
    return limit_routes(coordination=parts.stores.coordination, configured=configured)


def _relays(parts: Parts) -> SupervisorSpec:
    config, stores, instance = parts.config, parts.stores, parts.instance
    topic_lock = partial(relay_path, role="topic_lock")
    children = [
        _actor("membership", lambda: Membership(stores.coordination, instance, config.lock.ttl), grace=TIDY),
        _actor("balancer", lambda: Balancer(stores.coordination, instance, topic_lock), grace=BRIEF),
        *(ChildSpec(f"relay[{topic.name}]", _relay(parts, topic)) for topic in config.topics),
    ]
    cool_off = config.supervision.backoff.cap
    return _supervisor(config, Strategy.DYNAMIC, children, exhausted=Exhausted.PARK, cool_off=cool_off)


def _relay(parts: Parts, topic: TopicConfig) -> SupervisorSpec:
    config, stores = parts.config, parts.stores

    def term(held: Term) -> ChildSpec:
        return ChildSpec("term", _term(parts, topic, held), restart=Restart.TEMPORARY)

    topic_lock = _actor(
        "topic_lock",
        lambda: TopicLock(
            topic=topic.name,
            partitions=topic.partitions,
            coordination=stores.coordination,
            queue=stores.queue(topic.name),
            ttl=config.lock.ttl,
            lock_delay=config.lock.lock_delay,
            instance=parts.instance,
            prepare=partial(stores.widen, topic),
            rank_delay=partial(Ranking(stores.coordination, parts.instance, RANK_STEP).delay, topic.name),
            term_spec=term,
        ),
        grace=LET_GO + BRIEF,
    )
    any_term = Term(topic.name, topic.partitions, Token(0, 0), session="", epoch="")
    return _supervisor(config, Strategy.REST_FOR_ONE, [topic_lock], later=[term(any_term)])


def _term(parts: Parts, topic: TopicConfig, term: Term) -> SupervisorSpec:
    stores = parts.stores
    limiter = _term_actor(
        "rate_limiter",
        lambda: RateLimiter(
            topic=topic.name,
            rate=topic.rate,
            burst=max(topic.rate * BURST, 1.0),
            coordination=stores.coordination,
            queue=stores.queue(topic.name),
        ),
        grace=BRIEF,
    )
    writer = _term_actor(
        "redis_writer",
        lambda: RedisWriter(
            term=term,
            queue=stores.queue(topic.name),
            log=stores.log,
            acks=Acks(topic.acks),
            topic_lock=relay_path(topic.name, "topic_lock"),
        ),
        grace=BRIEF,
    )
    marks = _term_actor(
        "settled_marks",
        lambda: SettledMarks(
            term=term, queue=stores.queue(topic.name), log=stores.log, topic_lock=relay_path(topic.name, "topic_lock")
        ),
        grace=CLOSING,
    )
    consumers = [_consumer(topic, term, number, retry) for retry in (False, True) for number in range(term.partitions)]
    return _supervisor(
        parts.config,
        Strategy.REST_FOR_ONE,
        [
            limiter,
            _connection(parts, topic, term),
            _retry_connection(parts, topic),
            writer,
            marks,
            ChildSpec("partitions", _supervisor(parts.config, Strategy.DYNAMIC, consumers)),
            _retention_watch(parts, topic, term),
            _ends_writer(parts, topic, term),
        ],
    )


def _retention_watch(parts: Parts, topic: TopicConfig, term: Term) -> ChildSpec:
    stores = parts.stores
    return _term_actor(
        "retention_watch",
        lambda: RetentionWatch(term=term, queue=stores.queue(topic.name), log=stores.log, retention=topic.retention),
        grace=CLOSING,
    )


def _ends_writer(parts: Parts, topic: TopicConfig, term: Term) -> ChildSpec:
    stores, topic_lock = parts.stores, relay_path(topic.name, "topic_lock")
    return _term_actor(
        "ends_writer",
        lambda: EndsWriter(term=term, queue=stores.queue(topic.name), log=stores.log, topic_lock=topic_lock),
        grace=BRIEF,
    )


def _connection(parts: Parts, topic: TopicConfig, term: Term) -> ChildSpec:
    def start() -> KafkaConnection:
        return KafkaConnection(
            topic=topic.name,
            log=parts.stores.log,
            probe_interval=PROBE_INTERVAL,
            silence_limit=SILENCE_LIMIT,
            partitions=term.partitions,
            topic_lock=relay_path(topic.name, "topic_lock"),
        )

    return _term_actor("kafka_connection", start, grace=TIDY)


def _retry_connection(parts: Parts, topic: TopicConfig) -> ChildSpec:
    name = retry_topic(topic.name)

    def start() -> KafkaConnection:
        return KafkaConnection(topic=name, log=parts.stores.log, probe_interval=PROBE_INTERVAL, silence_limit=SILENCE_LIMIT)

    return _term_actor("retry_connection", start, grace=TIDY)


def _consumer(topic: TopicConfig, term: Term, partition: int, retry: bool) -> ChildSpec:
    def start() -> PartitionConsumer:
        return PartitionConsumer(
            term=term,
            partition=partition,
            batch=BATCH,
            rate_limiter=relay_path(topic.name, "term/rate_limiter"),
            kafka_connection=relay_path(topic.name, f"term/{'retry' if retry else 'kafka'}_connection"),
            redis_writer=relay_path(topic.name, "term/redis_writer"),
            settled_marks=relay_path(topic.name, "term/settled_marks"),
            retry=retry,
        )

    return _term_actor(f"{'retry' if retry else 'partition'}_consumer[{partition}]", start, grace=BRIEF)


def _workers(parts: Parts, workers: WorkersConfig) -> SupervisorSpec:
    config, stores = parts.config, parts.stores
    backoff = config.supervision.backoff
    reap = Pace(min(1.0, workers.lease / 4), workers.lease / 2)
    threads = anyio.CapacityLimiter(workers.slots)
    slot_ids = [f"slot[{number}]" for number in range(workers.slots)]
    slots = [
        _actor(
            slot_id,
            lambda: WorkerSlot(
                registry=parts.registry, threads=threads, keeper=KEEPER, dispatcher=DISPATCHER, drain=workers.drain
            ),
            grace=workers.drain + CANCEL_PATIENCE + BRIEF,
        )
        for slot_id in slot_ids
    ]
    return _supervisor(
        config,
        Strategy.REST_FOR_ONE,
        [
            _actor(
                "lease_keeper",
                lambda: LeaseKeeper(routes=stores.routes, instance=parts.instance, ttl=workers.lease, backoff=backoff),
                grace=TIDY,
                drain=True,  # what the slots said last is in its mailbox
            ),
            ChildSpec("slots", _supervisor(config, Strategy.DYNAMIC, slots)),
            _actor(
                "dispatcher",
                lambda: Dispatcher(
                    routes=stores.routes,
                    keeper=KEEPER,
                    slots=tuple(f"{SLOTS}/{slot_id}" for slot_id in slot_ids),
                    ttl=workers.lease,
                    claim_limit=BATCH,
                    backoff=backoff,
                ),
                grace=TIDY,  # for the answer to a claim, so that what it took goes back
                mailbox=MailboxSpec(keep=False),  # it asks every slot anew
            ),
            _actor("scheduler", lambda: Scheduler(routes=stores.routes, pace=PROMOTE, backoff=backoff), grace=BRIEF),
            _actor("reaper", lambda: Reaper(routes=stores.routes, pace=reap, backoff=backoff), grace=BRIEF),
        ],
    )


def _console(parts: Parts) -> SupervisorSpec:
    config = parts.config

    def control(ctx: Context) -> ASGIApp:
        return web_app([*_console_routes(parts), *_gate_routes(parts, ctx)])

    def console(_: Context) -> ASGIApp:
        assert config.console is not None
        return web_app(_console_routes(parts), hosts=own_hosts(config.console.host))

    children = [
        _actor("control", lambda: HttpServer(app=control, bind=Unix(parts.control_socket), limits=CONSOLE_LIMITS), grace=1.0)
    ]
    if config.console is not None:
        bind = Tcp(config.console.host, config.console.port)
        children.append(
            _actor(
                "http_server",
                lambda: HttpServer(app=console, bind=bind, limits=CONSOLE_LIMITS),
                grace=1.0,
            )
        )
    return _supervisor(config, Strategy.DYNAMIC, children)


def _supervisor(config: Config, strategy: Strategy, children: list[ChildSpec], **more: Any) -> SupervisorSpec:
    supervision = config.supervision
    return SupervisorSpec(
        strategy=strategy,
        children=children,
        intensity=supervision.intensity,
        backoff=supervision.backoff,
        stable_after=supervision.stable_after,
        **more,
    )


def _actor(
    child_id: str,
    start: Callable[[], Actor[Any]],
    *,
    grace: float,
    mailbox: MailboxSpec | None = None,
    drain: bool = False,
) -> ChildSpec:
    return ChildSpec(child_id, start, limits=Limits(shutdown=grace, drain=drain), mailbox=mailbox or MailboxSpec())


def _term_actor(child_id: str, start: Callable[[], Actor[Any]], *, grace: float) -> ChildSpec:
    """Return the spec of a role whose messages mean nothing to its next incarnation, which asks anew."""
    return _actor(child_id, start, grace=grace, mailbox=MailboxSpec(keep=False))
