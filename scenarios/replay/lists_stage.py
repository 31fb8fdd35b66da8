"""The old design as a stage: workers and clients of a queue of lists, on the Redis that they are given."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from attrs import evolve, frozen

from forebay.backends.redis.connection import Connection
from forebay.scenarios.old_design import ListQueue, Worker, call, post_patiently
from forebay.scenarios.replay.evidence import Accepted, Evidence, Moment, Run
from forebay.scenarios.replay.handling import payload
from forebay.scenarios.replay.plan import Stroke
from forebay.scenarios.replay.scene import Downstream
from forebay.scenarios.replay.schema import Scenario
from forebay.scenarios.replay.workload import Job
from forebay.scenarios.trace import Trace

TELL: Final = 5.0
"""Seconds between two lines that say how it goes."""


@frozen
class Store:
    """An empty Redis: what makes connections to it, and its `maxmemory` in bytes (0: none)."""

    connect: Callable[[], Connection]
    limit: Callable[[int], Awaitable[None]]


class ListsStage:
    """A `Stage`, while `running`. The run's time counts from `begin_run`. `seen.refusals` has `memory`, and the commands."""

    def __init__(self, scenario: Scenario, store: Store, say: Callable[[str], None] = lambda _: None) -> None:
        """`say` is told how it goes, a line at a time."""
        self._say = say
        self._told = 0.0
        self.seen = Evidence()
        self.trace = Trace(self.now)
        self._began = _loop_time()
        self._store = store
        self._downstream = Downstream()
        self._own = 0
        self._posted = 0
        self._payloads: dict[bytes, bytes] = {}
        self._watch = store.connect()
        self._topic = scenario.topology.topics[0]
        self._queues = {host: ListQueue(store.connect(), self._topic.name, host) for host in scenario.hosts}
        assert scenario.topology.workers is not None, "lists_checks.py sees to that"
        self._slots = scenario.topology.workers.slots
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The workers run until the block is left."""
        self._own = (await self._memory())["used_memory"]
        self._tasks = [asyncio.create_task(self._work(host), name=f"worker on {host}") for host in self._queues]
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def begin_run(self) -> None:
        """Let the time of the run begin now."""
        self._began = _loop_time()

    def now(self) -> float:
        """Seconds of the run."""
        return _loop_time() - self._began

    # --- what is done

    async def post(self, job: Job) -> None:
        """Post from the job's host, or from each in its turn."""
        hosts = list(self._queues)
        self._posted += 1
        host = job.host or hosts[self._posted % len(hosts)]
        self._payloads[job.id.encode()] = payload(job)
        taken = await post_patiently(self._queues[host], job.id.encode() + b" " + payload(job))
        self.trace.add(host, 1, "accepted" if taken else "refused", job.id)
        if taken:
            self.seen.accepted[job.id] = Accepted(self.now(), job.topic, 0, len(self.seen.accepted))
        else:
            self.seen.refused += 1

    async def _work(self, host: str) -> None:
        await Worker(self._queues[host], self._slots, lambda body: self._handle(host, body)).run()

    async def _handle(self, host: str, body: bytes) -> bool:
        """Take as long as the job says; return whether it succeeded."""
        id_, _, raw = body.partition(b" ")
        runs, job = self.seen.runs, id_.decode()
        runs.append(Run(job, host, 1, self.now(), intact=self._payloads.get(id_) == raw))
        place = len(runs) - 1
        self.trace.add(host, 1, "begun", job)
        await asyncio.sleep(json.loads(raw)["takes"] + self._downstream.slower)
        failed = self._downstream.fails
        runs[place] = evolve(runs[place], ended=self.now(), failed=failed)
        self.trace.add(host, 1, "failed" if failed else "ended", job)
        return not failed

    async def begin(self, stroke: Stroke) -> bool:
        """One of `lists_checks.ACTS`."""
        match stroke.do:
            case "jobs.slow":
                self._downstream.slower = stroke.args["by"]
            case "jobs.fail":
                self._downstream.fails = True
            case "redis.limit":
                await self._store.limit(self._own + stroke.args["memory"])
        args = "".join(f" {name}={value}" for name, value in stroke.args.items())
        self._say(f"{self.now():6.1f} s  {stroke.id}: {stroke.do}{args}")
        return True

    async def end(self, stroke: Stroke) -> None:
        """Undo it."""
        match stroke.do:
            case "jobs.slow":
                self._downstream.slower = 0.0
            case "jobs.fail":
                self._downstream.fails = False
            case "redis.limit":
                await self._store.limit(0)
        self._say(f"{self.now():6.1f} s  {stroke.id}: over")

    async def heal(self) -> None:
        """Nothing is down: what was done is undone by then."""

    # --- what is seen

    async def look(self) -> Moment:
        """How it is now. Raises what ended a worker: its Redis is never down."""
        for task in self._tasks:
            if task.done():
                task.result()
        queues = list(self._queues.values())
        waiting = await queues[0].pending() + sum([await queue.in_flight() for queue in queues])
        memory = await self._memory()
        refused = sum((queue.refused for queue in queues), Counter[str]())
        self.seen.refusals = Counter({"memory": refused.total(), **refused})
        limit = memory["maxmemory"]
        moment = Moment(
            at=0.0,
            waiting={self._topic.name: waiting},
            used={self._topic.queue: memory["used_memory"] / limit} if limit else {},
            accepted=len(self.seen.accepted),
            finished=len(self.seen.finished()),
        )
        self._tell(moment)
        return moment

    def _tell(self, moment: Moment) -> None:
        if (now := self.now()) >= self._told + TELL:
            self._told = now
            full = "".join(f", {share:.1%} of its memory" for share in moment.used.values())
            waiting = sum(moment.waiting.values())
            self._say(f"{now:6.1f} s  accepted {moment.accepted}, finished {moment.finished}, not ended {waiting}{full}")

    async def _memory(self) -> dict[str, int]:
        """What INFO says of memory, as far as it is numbers."""
        text: Any = await call(self._watch, "INFO", "memory")
        pairs = (line.partition(":") for line in text.decode().splitlines())
        return {name: int(value) for name, _, value in pairs if value.isdigit()}


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
