"""A toy system for scenarios: hosts that finish jobs unless they are down, and a bug that can be switched on."""

import asyncio

from forebay.actors.events import Noted
from forebay.actors.snapshot import Node, State
from forebay.scenarios.loop import running_loop
from forebay.scenarios.replay.evidence import Accepted, Evidence, Moment, Run
from forebay.scenarios.replay.play import Play
from forebay.scenarios.replay.reading import scenario_from
from forebay.scenarios.virtual import run_virtual

BASE = {
    "format": "forebay-scenario/1",
    "name": "toy",
    "about": "A toy.",
    "topology": {
        "log": {"url": "kafka://simulated:9092"},
        "coordination": {"url": "consul://simulated:8500"},
        "queues": {"main": {"url": "redis://simulated:6379"}},
    },
    "hosts": ["a", "b", "c"],
    "workload": [{"count": 40, "over": 30}],
    "phases": {"chaos": 40, "converge": 60},
    "invariants": {"eventually": ["nothing-lost", "lag-zero", "tree-all-running"]},
}


def scenario(**more):
    return scenario_from(BASE | more)


class ToyStage:
    """A job runs on the first host that is up. With `bug`, one that is accepted while a and b are both down is lost.

    A host that is restarted while it is down restarts when it is up again, as one that stands still does.
    """

    def __init__(self, bug=False):
        self.seen = Evidence()
        self.bug = bug
        self.down = set()
        self.strokes = []
        self._running = set()

    async def post(self, job):
        up = [host for host in "abc" if host not in self.down]
        now = running_loop().time()
        if not up:
            self.seen.refused += 1
            return
        self.seen.accepted[job.id] = Accepted(now, job.topic, 0, len(self.seen.accepted), job.acks)
        self.seen.events.append((up[0], Noted(at=now, path="/x", name="posted")))
        if not (self.bug and {"a", "b"} <= self.down):
            self._running.add(job.id)
            await asyncio.sleep(job.takes)
            self.seen.runs.append(Run(job.id, up[0], 1, now, running_loop().time()))
            self._running.discard(job.id)

    async def begin(self, stroke):
        while stroke.do == "host.restart" and stroke.args["host"] in self.down:
            await asyncio.sleep(1)
        self.strokes.append((running_loop().time(), stroke.id, True))
        if stroke.do == "host.restart":
            return True
        fresh = stroke.args["host"] not in self.down
        self.down.add(stroke.args["host"])
        return fresh

    async def end(self, stroke):
        self.strokes.append((running_loop().time(), stroke.id, False))
        self.down.discard(stroke.args["host"])

    async def heal(self):
        self.down.clear()

    async def look(self):
        trees = {host: None if host in self.down else Node("/", "supervisor", State.RUNNING, 1) for host in "abc"}
        return Moment(0.0, {"jobs": 0}, {"jobs": len(self._running)}, trees)


def played(toy, seed=0, bug=False):
    """Play on a new toy; return it and what did not hold."""
    stage = ToyStage(bug)

    async def main():
        return await Play(toy, stage, running_loop().streams.stream).run()

    return stage, run_virtual(main, seed=seed)
