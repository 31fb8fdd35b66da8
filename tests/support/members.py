"""Instances of a small fleet on virtual time: each its membership, its balancer and a lock for each topic."""

from contextlib import asynccontextmanager
from functools import partial
from random import Random

from support.flaky import Faults, Flaky
from support.relay_tree import LIMITS, Services

from forebay.actors.relay.balancer import Balancer
from forebay.actors.relay.membership import Membership
from forebay.actors.relay.ranking import Ranking
from forebay.actors.relay.topic_lock import TopicLock
from forebay.scenarios.loop import running_loop
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, Restart, Strategy, SupervisorSpec

STEP = 0.3
TTL, LOCK_DELAY = 10.0, 5.0


class Member:
    """One instance: membership, balancer, and a lock for each topic with an empty term."""

    def __init__(self, services, name, topics):
        self.name, self.queue = name, services.queue
        self.coordination = Flaky(services.coordination, Faults(Random(name)))
        member = ChildSpec("membership", self._membership, limits=LIMITS)
        balancer = ChildSpec("balancer", self._balancer, limits=LIMITS)
        relays = [ChildSpec(f"relay[{topic}]", self._relay(topic)) for topic in topics]
        spec = SupervisorSpec(children=[ChildSpec("relays", SupervisorSpec(Strategy.DYNAMIC, [member, balancer, *relays]))])
        self.runtime = Runtime(spec, clock=running_loop().clock, seed=name.encode()[0], deadline=60.0)

    def _membership(self):
        return Membership(coordination=self.coordination, instance=self.name, ttl=TTL)

    def _balancer(self):
        def topic_lock(topic):
            return f"/relays/relay[{topic}]/topic_lock"

        return Balancer(coordination=self.coordination, instance=self.name, topic_lock=topic_lock)

    def _relay(self, topic):
        lock = ChildSpec("topic_lock", partial(self._lock, topic), limits=LIMITS)
        return SupervisorSpec(Strategy.REST_FOR_ONE, [lock])

    def _lock(self, topic):
        return TopicLock(
            topic=topic,
            partitions=1,
            coordination=self.coordination,
            queue=self.queue,
            ttl=TTL,
            lock_delay=LOCK_DELAY,
            instance=self.name,
            prepare=None,  # its term has no connection that would find more partitions
            rank_delay=partial(Ranking(self.coordination, self.name, STEP).delay, topic),
            term_spec=lambda _: ChildSpec("term", SupervisorSpec(children=()), restart=Restart.TEMPORARY),
        )


@asynccontextmanager
async def members(*names, topics=()):
    services = Services()
    await services.start()
    started = [Member(services, name, topics) for name in names]
    try:
        for member in started:
            await member.runtime.start()
        yield services.coordination, *started
    finally:
        for member in started:
            member.coordination.faults.heal()
            await member.runtime.stop()
        await services.embedded.stop()
