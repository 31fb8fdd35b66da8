"""A plain model of the queue against the embedded one, under every order of calls that hypothesis
finds.

The model is dictionaries and lists; it knows the rules of the port and nothing of SQLite. After
each step the queue must show the same jobs in the same states, the same marks, and leases that only
their holder can end (R3, R4, Q1, Q2, Q6).
"""

import asyncio
import tempfile
from pathlib import Path
from random import Random

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import event, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.clock import ManualClock
from support.effort import examples

from forebay.backends.errors import MarkMismatch, StaleToken
from forebay.backends.ports import (
    Counts,
    Dead,
    Done,
    JobState,
    Lease,
    Mark,
    QueuedJob,
    Release,
    Retry,
    Token,
)
from forebay.backends.sqlite import open_embedded

TOPIC = "jobs"
TTL = 30.0
IDS = st.sampled_from([f"i{n}" for n in range(6)])
DEDUPS = st.sampled_from(["x", None, "y"])
WORKERS = st.sampled_from(["v", "w"])
PARTITIONS = st.integers(0, 1)
BATCHES = st.lists(st.tuples(IDS, DEDUPS, st.sampled_from([0, 0, 5])), min_size=1, max_size=5)
KINDS = st.sampled_from([Done, Dead, Retry, Release])
LIVE = (JobState.PENDING, JobState.DELAYED, JobState.RETRYING, JobState.IN_FLIGHT)


@attrs.define
class Job:
    """What the model knows of one job."""

    id: str
    dedup: str | None
    ready_at: int
    order: int
    hold: tuple[int, int] | None
    state: JobState = JobState.PENDING
    follows: bool = False
    attempt: int = 0
    lease: tuple[str, int, int] | None = None  # worker, sequence, epoch
    unwritten: bool = False  # it is dead, and the log does not have that

    def to_pending(self, undo_attempt=False):
        self.state, self.lease = JobState.PENDING, None
        self.attempt -= undo_attempt


@attrs.define
class Model:
    """The rules of the port, with plain values."""

    jobs: dict[str, Job] = attrs.Factory(dict)
    next: dict[int, int] = attrs.Factory(dict)
    leases: dict[str, float] = attrs.Factory(dict)  # worker -> end
    sequences: dict[str, int] = attrs.Factory(dict)
    epochs: dict[str, int] = attrs.Factory(dict)  # job id -> the largest epoch ever seen
    order: int = 0

    def in_state(self, *states):
        return [j for j in self.jobs.values() if j.state in states]

    def take(self, id_, dedup, ready_at, place, now):
        """Return which of queued, redelivered, duplicates a written job is."""
        if (known := self.jobs.get(id_)) is not None:
            known.hold = place
            known.unwritten = known.state is JobState.DEAD
            return "redelivered"
        same = [j for j in self.in_state(*LIVE) if dedup is not None and j.dedup == dedup]
        firsts = [j for j in same if not j.follows]
        if firsts and (firsts[0].state is not JobState.IN_FLIGHT or len(same) > 1):
            return "duplicates"
        self.order += 1
        new = Job(id_, dedup, ready_at, self.order, place, follows=bool(firsts))
        if firsts or ready_at > now:
            new.state = JobState.DELAYED
        self.jobs[id_] = new
        return "queued"

    def claimable(self, limit):
        return sorted(self.in_state(JobState.PENDING), key=lambda j: (j.ready_at, j.order))[:limit]

    def held_by(self, worker):
        return [j for j in self.jobs.values() if j.lease is not None and j.lease[0] == worker]

    def start_successor(self, dedup, now):
        for job in self.in_state(JobState.DELAYED):
            if job.follows and job.dedup == dedup:
                event("successor started")
                job.follows = False
                if job.ready_at <= now:
                    job.state = JobState.PENDING

    def mark(self, partition):
        held = [j.hold[1] for j in self.jobs.values() if j.hold and j.hold[0] == partition]
        return Mark(self.next[partition], min(held, default=self.next[partition]))


class QueueMachine(RuleBasedStateMachine):
    """Drives both."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.model = Model()
        self.token = Token(1, 1)
        self.ended: list[tuple[str, str, int]] = []  # leases that are over: worker, id, epoch
        self.open()

    def run(self, call):
        return self.runner.run(call)

    def open(self):
        self.embedded = open_embedded(Path(self.folder.name), self.clock, Random(3))
        self.queue = self.embedded.queue("main")
        self.run(self.queue.start())

    def teardown(self):
        self.run(self.embedded.stop())
        self.runner.close()
        self.folder.cleanup()

    @initialize(batch=BATCHES)
    def begins_with_jobs(self, batch):
        self.epoch = self.run(self.queue.plant(TOPIC, self.token)).epoch
        self.write_and_compare(0, batch)

    # the relay

    def write(self, partition, start, items):
        return self.queue.write(TOPIC, self.token, self.epoch, partition, start, start + len(items), items)

    @rule(partition=PARTITIONS, batch=BATCHES)
    def writes(self, partition, batch):
        self.write_and_compare(partition, batch)

    def write_and_compare(self, partition, batch):
        start, now = self.model.next.get(partition, 0), self.clock.wall()
        items, tally = [], {"queued": 0, "redelivered": 0, "duplicates": 0}
        for n, (id_, dedup, delay) in enumerate(batch):
            due = now + delay * 1000 if delay else 0
            items.append(QueuedJob(start + n, id_, "t", id_.encode(), now, due, dedup, ((id_, b""),)))
            tally[self.model.take(id_, dedup, max(now, due), (partition, start + n), now)] += 1
        self.model.next[partition] = start + len(items)
        written = self.run(self.write(partition, start, items))
        assert {name: getattr(written, name) for name in tally} == tally
        assert written.next == self.model.next[partition]
        for name, count in tally.items():
            if count:
                event(name)

    @rule(rare=st.sampled_from(["hand over", "restart", "miss the mark"]))
    def something_rare_happens(self, rare):
        if rare == "hand over":
            self.hand_over_to_a_new_term()
        elif rare == "restart":
            self.restart()
        else:
            self.write_beside_the_mark()

    def write_beside_the_mark(self):
        for partition, mark in self.model.next.items():
            for start in (mark - 1, mark + 1):
                with pytest.raises(MarkMismatch):
                    self.run(self.write(partition, start, [QueuedJob(start, "z", "t", b"")]))

    def hand_over_to_a_new_term(self):
        old, self.token = self.token, Token(1, self.token.index + 1)
        planted = self.run(self.queue.plant(TOPIC, self.token))
        assert planted.epoch == self.epoch
        assert planted.marks == {p: self.model.mark(p) for p in self.model.next}
        with pytest.raises(StaleToken):
            self.run(self.queue.write(TOPIC, old, self.epoch, 0, 0, 0, []))

    # workers

    def claim(self, worker, sequence, limit):
        return self.run(self.queue.claim(TOPIC, Lease(worker, sequence, TTL), limit))

    @rule(worker=WORKERS, limit=st.integers(1, 3))
    def claims(self, worker, limit):
        self.claim_and_compare(worker, limit)

    @rule(worker=WORKERS, limit=st.integers(1, 3), meanwhile=BATCHES, kinds=st.lists(KINDS, min_size=1, max_size=3))
    def works_while_the_relay_writes(self, worker, limit, meanwhile, kinds):
        claimed = self.claim_and_compare(worker, limit)
        self.write_and_compare(1, meanwhile)
        for job, kind in zip(claimed, kinds, strict=False):
            self.end_and_compare(job, kind, 2.0)

    def claim_and_compare(self, worker, limit):
        model = self.model
        sequence = model.sequences[worker] = model.sequences.get(worker, 0) + 1
        expected = model.claimable(limit)
        claims = self.claim(worker, sequence, limit)
        assert [c.id for c in claims] == [j.id for j in expected]
        for claim, job in zip(claims, expected, strict=True):
            job.state, job.attempt = JobState.IN_FLIGHT, job.attempt + 1
            job.lease = (worker, sequence, claim.epoch)
            assert claim.epoch > model.epochs.get(job.id, 0)
            model.epochs[job.id] = claim.epoch
            assert (claim.attempt, claim.args, claim.sequence) == (
                job.attempt,
                job.id.encode(),
                sequence,
            )
        lease_end = self.clock.monotonic() + TTL
        model.leases[worker] = max(model.leases.get(worker, lease_end), lease_end)
        return expected

    @rule(worker=WORKERS, limit=st.integers(1, 3))
    def repeats_its_last_claim(self, worker, limit):
        sequence = self.model.sequences.get(worker, 0)
        if worker in self.model.leases:
            held = [j for j in self.model.held_by(worker) if j.lease[1] == sequence]
            held.sort(key=lambda j: (j.ready_at, j.order))
            claims = self.claim(worker, sequence, limit)
            assert [(c.id, c.epoch) for c in claims] == [(j.id, j.lease[2]) for j in held]

    @precondition(lambda self: self.model.in_state(JobState.IN_FLIGHT))
    @rule(data=st.data(), kind=KINDS, delay=st.sampled_from([0.0, 2.0]))
    def ends(self, data, kind, delay):
        jobs = sorted(self.model.in_state(JobState.IN_FLIGHT), key=lambda j: j.id)
        self.end_and_compare(data.draw(st.sampled_from(jobs)), kind, delay)

    def end_and_compare(self, job, kind, delay):
        worker, _, epoch = job.lease
        outcome = {
            Done: lambda: Done(job.id, epoch),
            Dead: lambda: Dead(job.id, epoch, "e"),
            Retry: lambda: Retry(job.id, epoch, delay, "e"),
            Release: lambda: Release(job.id, epoch),
        }[kind]()
        assert list(self.run(self.queue.end(TOPIC, worker, [outcome]))) == [True]
        self.ended.append((worker, job.id, epoch))
        self.apply(job, kind, delay)
        event(kind.__name__)

    def apply(self, job, kind, delay):
        now = self.clock.wall()
        if kind is Release:
            job.to_pending(undo_attempt=True)
        elif kind is Retry:
            job.to_pending()
            job.ready_at = now + round(delay * 1000)
            job.state = JobState.RETRYING if delay else JobState.PENDING
        else:
            job.state, job.lease, job.unwritten = JobState.DEAD, None, True
            if kind is Done:
                del self.model.jobs[job.id]
            self.model.start_successor(job.dedup, now)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def a_lease_that_is_over_ends_nothing(self, data):
        worker, id_, epoch = data.draw(st.sampled_from(self.ended))
        outcomes = [Done(id_, epoch), Retry(id_, epoch, 0, "e"), Dead(id_, epoch, "e")]
        assert not any(self.run(self.queue.end(TOPIC, worker, outcomes)))

    @rule(worker=WORKERS, lost=st.integers(0, 1))
    def renews(self, worker, lost):
        received = self.model.sequences.get(worker, 0) - lost
        for job in self.model.held_by(worker):
            if job.lease[1] > received:
                event("given back")
                self.ended.append((worker, job.id, job.lease[2]))
                job.to_pending(undo_attempt=True)
        if worker in self.model.leases:
            self.model.leases[worker] = self.clock.monotonic() + TTL
        held = self.run(self.queue.renew(TOPIC, worker, received, TTL))
        assert held == {(j.id, j.lease[2]) for j in self.model.held_by(worker)}

    def reap(self):
        now, count = self.clock.monotonic(), 0
        for worker in [w for w, lease_end in self.model.leases.items() if lease_end <= now]:
            for job in self.model.held_by(worker):
                self.ended.append((worker, job.id, job.lease[2]))
                job.to_pending()
                count += 1
            del self.model.leases[worker]
        assert self.run(self.queue.reap(TOPIC, 100)).count == count
        if count:
            event("reaped")

    def promote(self):
        now = self.clock.wall()
        waiting = self.model.in_state(JobState.DELAYED, JobState.RETRYING)
        due = [j for j in waiting if not j.follows and j.ready_at <= now]
        later = [j.ready_at for j in waiting if not j.follows and j.ready_at > now]
        for job in due:
            job.state = JobState.PENDING
        moved = self.run(self.queue.promote(TOPIC, 100))
        assert (moved.count, moved.next_due) == (len(due), min(later, default=None))

    # people, time, restarts

    @rule(id_=IDS, again=st.booleans())
    def a_person_decides_about_a_dead_job(self, id_, again):
        if again:
            self.resubmit(id_)
            self.retire(id_)
        else:
            self.discard(id_)

    def resubmit(self, id_):
        job = self.model.jobs.get(id_)
        dead = job is not None and job.state is JobState.DEAD and job.hold is not None
        if dead:
            if any(j.dedup == job.dedup for j in self.model.in_state(*LIVE)):
                job.dedup = None
            job.state, job.attempt, job.ready_at = JobState.PENDING, 0, self.clock.wall()
            job.unwritten = False
        assert self.run(self.queue.resubmit(TOPIC, [id_])) == dead

    def retire(self, id_):
        job = self.model.jobs.get(id_)
        written = job is not None and job.state is JobState.DEAD and job.hold is None
        if written:
            del self.model.jobs[id_]
        assert self.run(self.queue.retire(TOPIC, [id_])) == written

    def discard(self, id_):
        job = self.model.jobs.get(id_)
        dead = job is not None and job.state is JobState.DEAD
        if dead:
            del self.model.jobs[id_]
        assert self.run(self.queue.discard(TOPIC, [id_])) == dead

    @rule(data=st.data())
    def the_relay_writes_ends(self, data):
        told = self.run(self.queue.unwritten(TOPIC, self.token, 100))
        assert {end.id for end in told} == {job.id for job in self.model.jobs.values() if job.unwritten}
        written = [end for end in told if data.draw(st.booleans())]
        self.run(self.queue.written(TOPIC, self.token, written))
        for end in written:
            event("end written")
            job = self.model.jobs[end.id]
            job.unwritten, job.hold = False, None

    @rule(seconds=st.sampled_from([3, 31]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)
        self.promote()
        self.reap()

    def restart(self):
        self.run(self.embedded.stop())
        self.model.leases = dict.fromkeys(self.model.leases, 0.0)
        self.open()

    # what must always hold

    async def browse_all(self):
        browsing = (self.queue.browse(TOPIC, state, 100) for state in JobState)
        return dict(zip(JobState, await asyncio.gather(*browsing), strict=True))

    @invariant()
    def shows_what_the_model_has(self):
        expected = {s: sorted((j.id, j.attempt) for j in self.model.in_state(s)) for s in JobState}
        views = self.run(self.browse_all())
        assert {s: [(v.id, v.attempt) for v in of_s] for s, of_s in views.items()} == expected
        counts = {s.value: len(jobs) for s, jobs in expected.items()}
        assert self.run(self.queue.counts(TOPIC)) == Counts(**counts)

    @invariant()
    def its_marks_are_exact(self):
        if self.model.next:
            marks = self.run(self.queue.marks(TOPIC, self.token))
            assert marks == {p: self.model.mark(p) for p in self.model.next}

    @invariant()
    def it_tells_exactly_what_has_ended(self):
        for partition, next_ in self.model.next.items():
            held = {job.hold for job in self.model.jobs.values()}
            found = self.run(self.queue.settled(TOPIC, self.token))[partition]
            ended = [offset for offset in range(next_ + 9) if found.has_ended(offset)]
            assert ended == [offset for offset in range(next_) if (partition, offset) not in held]
            assert found.low == self.model.mark(partition).settled


QueueMachine.TestCase.settings = settings(max_examples=examples(60, 600), stateful_step_count=40, deadline=None)
test_the_queue_behaves_like_its_model = QueueMachine.TestCase
