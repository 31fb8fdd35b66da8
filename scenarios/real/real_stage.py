"""Real servers and a fleet of members as a stage: what is done to them, and what is seen of them."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Final

from anyio import CapacityLimiter, to_thread
from attrs import evolve
from redis.exceptions import RedisError

from forebay.actors.snapshot import Node, from_plain
from forebay.backends.clock import SystemClock
from forebay.backends.ports import Extent
from forebay.jobs.lanes import retry_mark, retry_topic
from forebay.scenarios.fleet import Fleet, Member
from forebay.scenarios.real import door
from forebay.scenarios.real.events import event_of
from forebay.scenarios.real.fleet_of import fleet_of, places_of
from forebay.scenarios.real.log_watch import LogWatch
from forebay.scenarios.real.monitor_lines import Taken
from forebay.scenarios.real.runs import RunReader
from forebay.scenarios.real.scene import RealScene
from forebay.scenarios.real.site import Say, Site
from forebay.scenarios.real.verbs import REAL_VERBS
from forebay.scenarios.replay.evidence import Accepted, Evidence, Moment, Write
from forebay.scenarios.replay.handling import payload
from forebay.scenarios.replay.plan import Stroke
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.replay.workload import Job
from forebay.scenarios.servers import Proxy

FOLLOW: Final = 0.05
"""Seconds between two looks at the members' logs: within that a fault learns of the event that it waits for."""
TELL: Final = 5.0
"""Seconds between two lines that say how it goes."""
POSTS: Final = 64
"""Posts under way at once; a host that stands still holds each for the poster's patience."""


class RealStage:
    """A `Stage`, while `running`. The run's time counts from `begin_run`."""

    def __init__(self, scenario: Scenario, site: Site, folder: Path, say: Say) -> None:
        """`say` is told how it goes, a line at a time."""
        self.seen = Evidence()
        self._say = say
        self._told = 0.0
        self._clock = SystemClock()
        self._began = self._clock.wall()
        self._topics = {topic.name: topic for topic in scenario.topology.topics}
        self._payloads: dict[str, bytes] = {}
        self._posted = 0
        self._posts = CapacityLimiter(POSTS)
        self._events_read: Counter[str] = Counter()
        downstream = folder / "downstream.json"
        places = places_of(scenario, site, self._take, self._lose)
        fleet = fleet_of(scenario, site, places, folder / "fleet", downstream)
        self._scene = RealScene(site, fleet, places, downstream)
        self._runs = RunReader(fleet.handled, self.seen, self._payloads, self._since)
        self._log = LogWatch(site.kafka.bootstrap, self._topics, self.seen)

    @property
    def _fleet(self) -> Fleet:
        return self._scene.fleet

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The members run, and everything is watched, until the block is left."""
        async with AsyncExitStack() as stack:
            self._scene.change_downstream()
            for place in dict.fromkeys(self._scene.places.values()):
                stack.push_async_callback(place.close)
                await place.open()
            await stack.enter_async_context(self._fleet)
            for name, place in self._scene.places.items():
                place.ways = [*place.ways, *(ways.redis[name] for ways in self._fleet.ways.values())]
            stack.push_async_callback(self._log.close)
            await self._log.open()
            following = asyncio.get_running_loop().create_task(self._follow(), name="events of the members")
            try:
                yield
            finally:
                following.cancel()
                await asyncio.wait([following])

    def begin_run(self) -> None:
        """Let the time of the run begin now; what was seen before has negative times."""
        before, self._began = self._began, self._clock.wall()
        shift = (self._began - before) / 1000
        self.seen.writes = [evolve(write, at=write.at - shift) for write in self.seen.writes]
        self.seen.events = [(host, evolve(event, at=event.at - shift)) for host, event in self.seen.events]

    def now(self) -> float:
        """Seconds of the run."""
        return self._since(self._clock.wall())

    def _since(self, wall: float) -> float:
        """Seconds of the run at a Unix time in ms."""
        return (wall - self._began) / 1000

    # --- what is done

    async def post(self, job: Job) -> None:
        """Post through the gate of the job's host, or of one that serves."""
        self.seen.post_begins(job.id)
        self._payloads[job.id] = payload(job)
        gate = self._gate(job)
        answer: door.Answer = door.Refused()
        if gate is not None:
            answer = await to_thread.run_sync(door.post_once, gate, job, limiter=self._posts)
        match answer:
            case door.Accepted(partition, offset):
                self.seen.post_ended(job.id, Accepted(self.now(), job.topic, partition, offset, job.acks))
            case door.Unknown():
                self.seen.post_ended(job.id, None)
            case door.Refused():
                self.seen.post_ended(job.id, None, refused=True)

    def _gate(self, job: Job) -> str | None:
        if job.host is not None:
            member = self._fleet.members[job.host]
            return member.gate if member.alive else None
        self._posted += 1
        return self._fleet.gate(self._posted)

    async def begin(self, stroke: Stroke) -> bool:
        """Do it by the table of verbs."""
        answer = REAL_VERBS[stroke.do].begin(self._scene, stroke.args)
        bit = await answer if inspect.isawaitable(answer) else answer
        args = "".join(f" {name}={value}" for name, value in stroke.args.items())
        self._say(f"{self.now():6.1f} s  {stroke.id}: {stroke.do}{args}" + (" changed nothing" if bit is False else ""))
        return bit is not False

    async def end(self, stroke: Stroke) -> None:
        """Undo it by the table of verbs."""
        undo = REAL_VERBS[stroke.do].end
        answer = None if undo is None else undo(self._scene, stroke.args)
        if inspect.isawaitable(answer):
            await answer
        self._say(f"{self.now():6.1f} s  {stroke.id}: over")

    async def heal(self) -> None:
        """Start what is down, let go on what stands still, mend every way, and wait until all of it answers.

        Raises `ServerFailed`, `MemberFailed`.
        """
        site, fleet = self._scene.site, self._fleet
        for way in self._ways():
            way.heal()
            way.delay = 0.0
            way.losses.left = 0
        for node in site.kafka:
            await node.launch()
        await site.consul.start()
        for place in self._scene.places.values():
            await place.start()
        await site.kafka.ready()
        for member in fleet.members.values():
            member.resume()
            if not member.alive:
                await member.start()
        self._say(f"{self.now():6.1f} s  healed")

    def _ways(self) -> Iterator[Proxy]:
        for ways in self._fleet.ways.values():
            yield from (ways.consul, *ways.redis.values())
        for brokers in self._scene.site.kafka_ways.values():
            yield from brokers

    # --- what is seen

    async def look(self) -> Moment:
        """Bring the evidence up to date and return how things stand; servers that do not answer count as lag."""
        seen = self.seen
        self._runs.read()
        self._read_events()
        extents = await self._log.look()
        places = dict.fromkeys(self._scene.places.values())
        seen.refusals = sum((place.refused for place in places), Counter())
        used = {name: await place.used() for name, place in self._scene.places.items()}
        stand = {topic: await self._stand(topic, extents) for topic in self._topics}
        moment = Moment(
            at=0.0,
            lag={topic: lag for topic, (lag, _) in stand.items()},
            waiting={topic: waiting for topic, (_, waiting) in stand.items()},
            trees={name: await _tree(member) for name, member in self._fleet.members.items()},
            used={name: share for name, share in used.items() if share is not None},
            accepted=len(seen.accepted),
            finished=len(seen.finished()),
        )
        self._tell(moment)
        return moment

    def _tell(self, moment: Moment) -> None:
        if (now := self.now()) >= self._told + TELL:
            self._told = now
            flow = f"accepted {moment.accepted}, finished {moment.finished}"
            left = f"not relayed {sum(moment.lag.values())}, not ended {sum(moment.waiting.values())}"
            self._say(f"{now:6.1f} s  {flow}, {left}")

    async def _stand(self, topic: str, extents: Mapping[str, Mapping[int, Extent]] | None) -> tuple[int, int]:
        """Records that are not in the queue, and jobs in it that have not ended."""
        place = self._scene.places[self._topics[topic].queue]
        try:
            marks, waiting = await place.marks(topic), (await place.counts(topic)).unfinished
        except (RedisError, OSError):
            return 1, 1
        return 1 if extents is None else _behind(topic, extents, marks), waiting

    async def _follow(self) -> None:
        while True:
            self._read_events()
            await asyncio.sleep(FOLLOW)

    def _read_events(self) -> None:
        for name, member in self._fleet.members.items():
            lines = member.happenings()
            for line in lines[self._events_read[name] :]:
                self.seen.events.append((name, event_of(line, self._since(1000 * line.at))))
            self._events_read[name] = len(lines)

    def _take(self, taken: Taken) -> None:
        at = self._since(1000 * taken.at)
        host = next((term.member for term in self._fleet.terms(taken.topic) if term.token == taken.token), "?")
        place = (taken.topic, taken.token, taken.partition, taken.start, taken.to, taken.epoch)
        self.seen.writes.append(Write(at, host, *place))

    def _lose(self) -> None:
        self.seen.losses.append(self.now())


def _behind(topic: str, extents: Mapping[str, Mapping[int, Extent]], marks: Mapping[int, int]) -> int:
    places = [(extent, partition) for partition, extent in extents[topic].items()]
    places += [(extent, retry_mark(partition)) for partition, extent in extents[retry_topic(topic)].items()]
    return sum(max(0, extent.end - max(extent.start, marks.get(mark, 0))) for extent, mark in places)


async def _tree(member: Member) -> Node | None:
    """The member's tree; None of one that is dead, stands still or has not opened its console."""
    if not member.serving:
        return None
    with suppress(OSError, HTTPException, ValueError):
        return from_plain(await member.ask("/tree"))
    return None
