"""The simulation as a stage: a world of services and hosts, and what is seen of it."""

from __future__ import annotations

import inspect
from collections import Counter
from contextlib import suppress

from attrs import evolve

from forebay.actors.events import Event
from forebay.actors.relay.snapshots import decode
from forebay.actors.snapshot import Node
from forebay.backends.end_records import read_end
from forebay.backends.ports import Acks, Record
from forebay.jobs.lanes import ends_topic, retry_topic, settled_topic
from forebay.scenarios.loop import running_loop
from forebay.scenarios.replay.evidence import Accepted, Evidence, Moment, Write, id_of, place_of
from forebay.scenarios.replay.handling import TYPE, Handling, payload
from forebay.scenarios.replay.plan import Stroke
from forebay.scenarios.replay.scene import Downstream, Scene
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.replay.verbs import VERBS
from forebay.scenarios.replay.workload import Job
from forebay.scenarios.simulation.book import Answer
from forebay.scenarios.simulation.host import Host
from forebay.scenarios.simulation.network import Refused
from forebay.scenarios.simulation.posting import post_through
from forebay.scenarios.simulation.process import Being
from forebay.scenarios.simulation.world import World
from forebay.scenarios.trace import Trace
from forebay.supervisors.job_runtime import JobRuntime


class SimStage:
    """A `Stage`, while `running`. The run's time counts from `begin_run`."""

    def __init__(self, scenario: Scenario) -> None:
        self.seen = Evidence()
        self._began = running_loop().time()
        downstream = Downstream()
        self._handling = Handling(self.seen, downstream)
        self._topics = [topic.name for topic in scenario.topology.topics]
        self._written: dict[str, int] = {}
        self._used: dict[str, int] = {}
        self._asked: Counter[str] = Counter()
        self._snapshots: dict[tuple[str, int], int] = {}
        self._posts = running_loop().streams.stream("posts")
        self.world = World(
            scenario.topology,
            hosts=scenario.hosts,
            handlers=lambda host: self._handling.registry(host.name, host.lives, self.now),
            booted=self._listen,
            zones={broker: scenario.kafka.zone_of(broker) for broker in range(1, scenario.kafka.brokers + 1)},
        )
        self._scene = Scene(self.world, downstream)

    def running(self) -> World:
        """What runs, in an `async with`."""
        return self.world

    @property
    def trace(self) -> Trace:
        """Every event of every host."""
        return self.world.trace

    def begin_run(self) -> None:
        """Let the time of the run begin now."""
        self._began = running_loop().time()

    def now(self) -> float:
        """Seconds of the run."""
        return running_loop().time() - self._began

    def _listen(self, host: Host[JobRuntime], runtime: JobRuntime) -> None:
        def take(event: Event) -> None:
            self.seen.events.append((host.name, evolve(event, at=event.at - self._began)))

        runtime.events.listen(take)

    # --- what is done

    async def post(self, job: Job) -> None:
        """Post through the job's host, or one that runs."""
        self.seen.post_begins(job.id)
        self._handling.payloads[job.id] = payload(job)
        acks = Acks(job.acks)
        door = self._door(job)
        post = await post_through(door, TYPE, None, id_=job.id, topic=job.topic, acks=acks, raw=payload(job))
        self.world.book.enter(post)
        accepted = None
        if post.answer is Answer.ACCEPTED:
            accepted = Accepted(post.at - self._began, job.topic, post.partition, post.offset, job.acks)
        self.seen.post_ended(job.id, accepted, refused=post.answer is Answer.REFUSED)

    def _door(self, job: Job) -> Host[JobRuntime]:
        hosts = self.world.hosts
        if job.host is not None:
            return hosts[job.host]
        running = [host for host in hosts.values() if host.being is Being.RUNNING]
        return self._posts.choice(running or list(hosts.values()))

    async def begin(self, stroke: Stroke) -> bool:
        """Do it by the table of verbs."""
        answer = VERBS[stroke.do].begin(self._scene, stroke.args)
        bit = await answer if inspect.isawaitable(answer) else answer
        return bit is not False

    async def end(self, stroke: Stroke) -> None:
        """Undo it by the table of verbs."""
        undo = VERBS[stroke.do].end
        answer = None if undo is None else undo(self._scene, stroke.args)
        if inspect.isawaitable(answer):
            await answer

    async def heal(self) -> None:
        """Let services answer everybody and hosts run."""
        world = self.world
        world.kafka.heal()
        world.consul.heal()
        for redis in world.redis.values():
            redis.start()
            for name in world.hosts:
                redis.mend(name)
        for host in world.hosts.values():
            host.resume()
            if host.being is Being.DEAD:
                await host.start()

    # --- what is seen

    async def look(self) -> Moment:
        """Bring the evidence up to date and return how things stand; a log without a leader counts as lag."""
        seen, world = self.seen, self.world
        self._look_at_writes()
        self._look_at_log()
        finished = seen.finished()
        return Moment(
            at=0.0,
            lag={topic: self._lag(topic) for topic in self._topics},
            waiting={topic: world.counts(topic).unfinished for topic in self._topics},
            trees={name: self._tree(host) for name, host in world.hosts.items()},
            asked=self._newly_asked(),
            used={name: redis.used_memory / redis.max_memory for name, redis in world.redis.items() if redis.max_memory},
            accepted=len(seen.accepted),
            finished=len(finished),
        )

    def _lag(self, topic: str) -> int:
        try:
            return self.world.lag(topic)
        except Refused:
            return 1

    def _tree(self, host: Host[JobRuntime]) -> Node | None:
        return host.runtime.tree() if host.being is Being.RUNNING else None

    def _look_at_writes(self) -> None:
        self.seen.refusals.clear()
        self.seen.losses.clear()
        self.seen.unanswered.clear()
        for redis in dict.fromkeys(self.world.redis.values()):
            new = redis.written[self._written.get(redis.name, 0) :]
            self._written[redis.name] = len(redis.written)
            self.seen.writes += [
                Write(w.at - self._began, w.host, w.topic, w.token, w.partition, w.start, w.to, w.epoch, w.spell)
                for w in new
            ]
            used = redis.leases[self._used.get(redis.name, 0) :]
            self._used[redis.name] = len(redis.leases)
            self.seen.leases += [evolve(use, at=use.at - self._began) for use in used]
            self.seen.losses += [at - self._began for at in redis.losses]
            self.seen.unanswered += [(at - self._began, host) for at, host in redis.unanswered]
            for (_, why), count in redis.refused.items():
                self.seen.refusals[why] += count

    def _newly_asked(self) -> dict[str, int]:
        now: Counter[str] = Counter()
        for redis in dict.fromkeys(self.world.redis.values()):
            now.update(redis.asked)
        new, self._asked = now - self._asked, now
        return dict(new)

    def _look_at_snapshots(self, topic: str) -> None:
        """What the log has come to say since the last look of jobs that had been accepted then."""
        now, finished, moved = self.seen.now, self.seen.finished(), self.seen.put_back()
        for record in self._records(settled_topic(topic)):
            if record.offset < self._snapshots.get((topic, record.partition), 0):
                continue
            self._snapshots[topic, record.partition] = record.offset + 1
            settled = decode(record.value).settled
            for id_, job in self.seen.accepted.items():
                there = settled.get(job.partition) if job.topic == topic and job.at < now else None
                if id_ not in finished or there is None or (topic, job.partition, job.offset) in moved:
                    continue
                if there.has_ended(job.offset):
                    self.seen.settled.setdefault(id_, self.now())

    def _look_at_log(self) -> None:
        """Which ends the log has, and which accepted records it has not any more."""
        seen = self.seen
        held: dict[str, set[str]] = {}
        for topic in self._topics:
            for record in self._records(ends_topic(topic)):
                end = read_end(record)
                if end is not None:
                    seen.ends[end.id] = end.kind
            retries = {(id_of(record), place_of(record)) for record in self._records(retry_topic(topic))}
            seen.detoured |= retries
            held[topic] = {id_of(record) for record in self._records(topic)} | {id_ for id_, _ in retries}
            self._look_at_snapshots(topic)
        seen.written = (seen.unknown | seen.turned_away) & set().union(*held.values()) - seen.accepted.keys()
        left = {id_: seen.accepted[id_] for id_ in seen.unended() if id_ in seen.accepted}
        seen.gone = {id_ for id_, job in left.items() if id_ not in held[job.topic] and self._is_gone(job, id_)}

    def _is_gone(self, job: Accepted, id_: str) -> bool:
        """Whether the log dropped the record itself. What was never there, or what retention removed, is another promise."""
        partition = self.world.kafka.partition(job.topic, job.partition)
        try:
            start = partition.extent.start
        except Refused:
            return False
        return job.offset >= start and id_ in {id_of(record) for record in partition.lost()}

    def _records(self, topic: str) -> list[Record]:
        """What readers may see of a topic; nothing of a partition that nobody leads."""
        found: list[Record] = []
        for partition in self.world.kafka.topics[topic].partitions if topic in self.world.kafka.topics else ():
            with suppress(Refused):
                found += self.world.kafka.records(topic, partition.number)
        return found
