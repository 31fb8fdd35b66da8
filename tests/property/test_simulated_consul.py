"""The simulated Consul against its rules: sessions, lock delays, indexes, and what holders may conclude (F2, R1, R3)."""

import asyncio
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from attrs import define, field
from hypothesis import event, given, settings
from support.effort import examples

from forebay.backends.errors import SessionGone, Unavailable
from forebay.scenarios.loop import run, running_loop
from forebay.scenarios.simulation.consul import SimConsul
from forebay.scenarios.simulation.consul_client import SimCoordination

KEY = st.sampled_from(["x", "y"])
VALUE = st.sampled_from([b"1", b"2"])
NUMBER = st.integers(0, 2)  # of a session, the youngest first
ACTIONS = st.one_of(
    st.tuples(st.just("take"), st.sampled_from([2.0, 9.0]), st.sampled_from([0.0, 3.0, 15.0]), KEY),
    st.tuples(st.just("take"), st.sampled_from([2.0, 9.0]), st.sampled_from([0.0, 3.0, 15.0]), KEY),
    st.tuples(st.sampled_from(["renew", "renew", "destroy"]), NUMBER),
    st.tuples(st.just("acquire"), KEY, NUMBER, VALUE),
    st.tuples(st.just("release"), KEY, NUMBER, VALUE),
    st.tuples(st.just("put"), KEY, VALUE),
    st.tuples(st.sampled_from(["delete", "free"]), KEY),
    st.tuples(st.sampled_from(["up", "up", "up", "up", "up", "up", "down", "expire"])),
)
PAUSES = st.sampled_from([0.0, 0.0, 0.5, 1.9, 6.0, 12.0])
STEPS = st.lists(st.tuples(ACTIONS, PAUSES), min_size=10, max_size=40)
SEEDS = st.integers(0, 5)


@define
class Life:
    """A session as the model has it; `lapses` in seconds."""

    patience: float
    delay: float
    lapses: float


@define
class Model:
    """Consul in a few lines: everything happens at once, and time passes by `pass_to`."""

    now: float = 0.0
    up: bool = True
    lives: dict[str, Life] = field(factory=dict)
    keys: dict[str, tuple[bytes, str | None]] = field(factory=dict)
    delays: dict[str, float] = field(factory=dict)

    def pass_to(self, now):
        due = sorted((life.lapses, id_) for id_, life in self.lives.items() if self.up and life.lapses <= now)
        for at, id_ in due:
            self.end(id_, at)
        self.now = now

    def end(self, id_, at):
        life = self.lives.pop(id_)
        for key, (value, holder) in self.keys.items():
            if holder == id_:
                self.keys[key] = (value, None)
                self.delays[key] = at + life.delay

    def end_all(self, ids):
        for id_ in ids:
            self.end(id_, self.now)

    def acquire(self, key, id_, value):
        _, holder = self.keys.get(key, (b"", None))
        if holder not in (None, id_) or self.delays.get(key, 0.0) > self.now:
            return False
        self.keys[key] = (value, id_)
        return True

    def release(self, key, id_):
        held = self.keys.get(key, (b"", None))[1] == id_
        if held:
            self.keys[key] = (b"", None)
        return held

    def start(self):
        if not self.up:
            self.up = True
            self.delays.clear()
            for life in self.lives.values():
                life.lapses = self.now + life.patience


class Pair:
    """The service and the model, told the same."""

    def __init__(self):
        loop = running_loop()
        self.consul = SimConsul(loop.clock, loop.streams.stream("consul"))
        self.model = Model()
        self.ids = []

    def act(self, what, *arguments):
        if what in ("down", "up", "expire", "free") or self.model.up:
            getattr(self, what)(*arguments)

    def take(self, ttl, delay, key):
        id_ = self.consul.create("a", "name", ttl, delay)
        patience = self.consul.session(id_).patience * ttl
        assert ttl <= patience <= 2 * ttl
        self.ids.append(id_)
        self.model.lives[id_] = Life(patience, delay, self.model.now + patience)
        self.acquire(key, 0, b"1")

    def living(self, number):
        """The session of that number, or one that never was; and whether it lives."""
        id_ = self.ids[-1 - number] if number < len(self.ids) else "nobody"
        return id_, id_ in self.model.lives

    def renew(self, number):
        id_, lives = self.living(number)
        if lives:
            self.consul.renew(id_)
            life = self.model.lives[id_]
            life.lapses = self.model.now + life.patience
        else:
            with pytest.raises(SessionGone):
                self.consul.renew(id_)

    def destroy(self, number):
        id_, lives = self.living(number)
        self.consul.destroy(id_)
        self.model.end_all([id_] if lives else [])

    def acquire(self, key, number, value):
        id_, lives = self.living(number)
        if lives:
            took = self.model.acquire(key, id_, value)
            assert self.consul.acquire(key, id_, value) == took
            event("a lock was taken" if took else "a lock was refused")
        else:
            with pytest.raises(SessionGone):
                self.consul.acquire(key, id_, value)

    def release(self, key, number, _):
        id_, _ = self.living(number)
        assert self.consul.release(key, id_) == self.model.release(key, id_)

    def put(self, key, value):
        self.consul.put(key, value)
        self.model.keys[key] = (value, self.model.keys.get(key, (b"", None))[1])

    def delete(self, key):
        self.consul.delete(key)
        self.model.keys.pop(key, None)

    def free(self, key):
        holder = self.model.keys.get(key, (b"", None))[1]
        assert self.consul.free(key) == (holder is not None)
        self.model.end_all([holder] if holder else [])

    def expire(self):
        assert self.consul.expire("a") == len(self.model.lives)
        assert self.consul.expire("b") == 0
        self.model.end_all(list(self.model.lives))

    def down(self):
        self.consul.down()
        self.model.up = False

    def up(self):
        self.consul.up()
        self.model.start()

    def compare(self, told):
        """The same keys; an index that is new wherever something is."""
        self.model.pass_to(running_loop().time())
        entries = {key: self.consul.entry(key) for key in ("x", "y")}
        found = {key: (entry.value, entry.session) for key, entry in entries.items() if entry}
        assert found == self.model.keys
        assert {id_ for id_ in self.ids if self.consul.session(id_)} == set(self.model.lives)
        for key, entry in entries.items():
            index, before = told.get(key, (0, None))
            if entry != before:
                assert entry is None or entry.modify_index > index
                told[key] = (max(index, entry.modify_index if entry else 0), entry)


async def watch(coordination, key, seen):
    """Keep the newest that a watch has told."""
    index = 0
    while True:
        try:
            entry, newer = await coordination.watch(key, index, 7.0)
        except Unavailable:
            await asyncio.sleep(0.1)
        else:
            assert newer != index or entry == seen[key]
            seen[key], index = entry, newer


async def play(steps):
    pair, told, seen = Pair(), {}, {}
    coordination = SimCoordination(pair.consul, "w")
    await coordination.start()
    watchers = [asyncio.create_task(watch(coordination, key, seen)) for key in ("x", "y")]
    for action, pause in steps:
        pair.model.pass_to(running_loop().time())
        pair.act(*action)
        pair.compare(told)
        await asyncio.sleep(pause)
        pair.compare(told)
    pair.act("up")
    await asyncio.sleep(1)
    assert {key: pair.consul.entry(key) for key in ("x", "y")} == seen
    for watcher in watchers:
        assert not watcher.done() or watcher.result()


@settings(max_examples=examples(100, 1000))
@given(STEPS, SEEDS)
def test_it_does_what_the_plain_model_does_and_watchers_see_it(steps, seed):
    run(play, steps, seed=seed)


# --- what a holder may conclude

TTL, DELAY = 6.0, 4.0
FAULTS = st.one_of(
    st.tuples(st.sampled_from(["cut", "mend"]), st.sampled_from(["a", "b", "c"])),
    st.tuples(st.just("expire"), st.sampled_from(["a", "b", "c"])),
    st.tuples(st.just("free"), st.just("lock")),
    st.tuples(st.just("break_answers"), st.sampled_from([0.0, 0.4])),
    st.tuples(st.just("set_latency"), st.sampled_from([0.001, 1.5])),
)
INCIDENTS = st.lists(st.tuples(FAULTS, st.sampled_from([0.1, 3.0, 9.0])), min_size=1, max_size=20)


async def compete(coordination, held):
    """Hold the lock whenever it can be had; note each span in which nobody else may have it (start, end)."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            session = await coordination.create_session("name", TTL, DELAY)
            while not await coordination.acquire("lock", session, b""):
                await coordination.renew_session(session)
                await asyncio.sleep(0.3)
            entry = await coordination.get("lock")
            span = None
            while entry and entry.session == session:
                sent = loop.time()
                await coordination.renew_session(session)
                if span is None:
                    span = [loop.time(), 0.0]
                    held.append(span)
                elif loop.time() > span[1]:  # it came too late to go on from the last
                    break
                span[1] = max(sent + min(TTL, DELAY), span[0])
                await asyncio.sleep(1.0)
        except (Unavailable, SessionGone):
            await asyncio.sleep(0.5)


async def rival(incidents):
    loop = running_loop()
    consul = SimConsul(loop.clock, loop.streams.stream("consul"))
    spans = {}
    for host in ("a", "b", "c"):
        coordination = SimCoordination(consul, host)
        await coordination.start()
        spans[host] = []
        asyncio.create_task(compete(coordination, spans[host]))  # noqa: RUF006 - it ends with the loop
    for (what, *arguments), pause in incidents:
        getattr(consul, what)(*arguments)
        await asyncio.sleep(pause)
    consul.heal()
    await asyncio.sleep(60)
    return spans, loop.time()


@settings(max_examples=examples(60, 600))
@given(INCIDENTS, SEEDS)
def test_no_two_hosts_trust_their_lock_at_the_same_time(incidents, seed):
    """R3: until its last renewal was sent plus min(TTL, lock delay), a holder is alone."""
    spans, end = run(rival, incidents, seed=seed)
    ordered = sorted((begin, until, host) for host, held in spans.items() for begin, until in held)
    for (_, until, host), (begin, _, other) in pairwise(ordered):
        assert begin >= until or host == other
    assert ordered[-1][1] > end - 10, "after the faults somebody holds it"
    event(f"{min(len({host for *_, host in ordered}), 3)} hosts held it")
