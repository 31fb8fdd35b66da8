"""Plain handlers, which run in threads: on the real loop and the real embedded queue (Q2, Q8)."""

import asyncio
import contextlib
import threading
from random import Random

import anyio
import pytest
from support.relay import Term, job

from forebay.actors.events import Noted
from forebay.actors.process import Limits
from forebay.actors.work.dispatcher import Dispatcher
from forebay.actors.work.lease_keeper import LeaseKeeper
from forebay.actors.work.scheduler import Scheduler
from forebay.actors.work.sweep import Pace
from forebay.actors.work.worker_slot import WorkerSlot
from forebay.backends.clock import SystemClock
from forebay.backends.ports import JobState
from forebay.backends.sqlite import open_embedded
from forebay.config.values import Backoff
from forebay.jobs.policy import RetryPolicy
from forebay.jobs.registry import Registry
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, Strategy, SupervisorSpec

KEEPER, DISPATCHER = "/lease_keeper", "/dispatcher"
BACKOFF = Backoff(0.01, 0.1)
PATIENCE = 20.0


def tree(queue, registry, slots, drain):
    routes = {"jobs": queue}
    threads = anyio.CapacityLimiter(slots)

    def slot():
        return WorkerSlot(registry=registry, threads=threads, keeper=KEEPER, dispatcher=DISPATCHER, drain=drain)

    def keeper():
        return LeaseKeeper(routes=routes, instance="a", ttl=10.0, backoff=BACKOFF)

    def dispatcher():
        paths = [f"/slots/slot[{n}]" for n in range(slots)]
        return Dispatcher(routes=routes, keeper=KEEPER, slots=paths, ttl=10.0, claim_limit=10, backoff=BACKOFF)

    children = [ChildSpec(f"slot[{n}]", slot, limits=Limits(shutdown=drain + 6)) for n in range(slots)]
    return SupervisorSpec(
        Strategy.REST_FOR_ONE,
        [
            ChildSpec("lease_keeper", keeper, limits=Limits(drain=True)),
            ChildSpec("slots", SupervisorSpec(Strategy.DYNAMIC, children)),
            ChildSpec("dispatcher", dispatcher),
            ChildSpec("scheduler", lambda: Scheduler(routes=routes, pace=Pace(0.01, 0.05), backoff=BACKOFF)),
        ],
    )


class Bench:
    """A queue in a folder, and one runtime with these handlers."""

    def __init__(self, queue, runtime):
        self.queue, self.runtime = queue, runtime
        self.events = runtime.events.subscribe(10_000)

    async def post(self, *ids):
        await self.term.write(*(job(id_) for id_ in ids))

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE):
            while not condition(await self.queue.counts("jobs")):
                await asyncio.sleep(0.005)

    async def noted(self, name):
        async with asyncio.timeout(PATIENCE):
            async for event in self.events:
                if isinstance(event, Noted) and event.name == name:
                    return dict(event.fields)
        return None

    async def dead(self):
        return {view.id: view.error for view in await self.queue.browse("jobs", JobState.DEAD, 100)}


@pytest.fixture
async def working(tmp_path):
    """A function that starts a bench; everything has stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(handler, timeout=None, slots=2, drain=1.0):
            registry = Registry()
            registry.job("test", timeout=timeout, retry=RetryPolicy(1))(handler)
            embedded = open_embedded(tmp_path / "data", SystemClock(), Random(1))
            stack.push_async_callback(embedded.stop)
            queue = embedded.queue("main")
            await queue.start()
            bench = Bench(queue, Runtime(tree(queue, registry, slots, drain), seed=1))
            bench.term = await Term(queue).begin()
            await bench.runtime.start()
            stack.push_async_callback(bench.runtime.stop)
            return bench

        yield start


async def test_a_plain_handler_runs_in_a_thread_and_its_end_is_the_jobs(working):
    threads = []

    def handler(context):
        threads.append(threading.current_thread())
        if context.id == "bad":
            raise ValueError("boom")

    bench = await working(handler)
    await bench.post("good", "bad")
    await bench.until(lambda counts: counts.dead == 1 and not counts.unfinished)
    assert threading.main_thread() not in threads
    error = (await bench.dead())["bad"]
    assert error.startswith("ValueError: boom")
    assert "in handler" in error
    assert "anyio" not in error


async def test_as_many_plain_handlers_run_at_once_as_there_are_slots(working):
    together = threading.Barrier(3)
    bench = await working(lambda _: together.wait(PATIENCE) and None, slots=3)
    await bench.post("a", "b", "c")
    await bench.until(lambda counts: not counts.unfinished)
    assert await bench.dead() == {}


async def test_a_plain_function_that_wraps_an_async_one_is_awaited(working):
    ended = []

    async def inner(context):
        await asyncio.sleep(0.01)
        ended.append(context.id)

    bench = await working(inner)
    await bench.post("a")
    await bench.until(lambda counts: not counts.unfinished)
    assert ended == ["a"]


async def test_a_stop_iteration_out_of_a_thread_is_a_failure_like_any_other(working):
    def handler(context):
        raise StopIteration("odd")

    bench = await working(handler)
    await bench.post("a")
    await bench.until(lambda counts: counts.dead == 1)
    assert "StopIteration" in (await bench.dead())["a"]


async def test_a_thread_over_its_time_out_is_recorded_and_keeps_its_slot_until_it_ends(working):
    release, story = threading.Event(), []

    def handler(context):
        story.append(f"{context.id} begins")
        if context.id == "stuck":
            release.wait(PATIENCE)
        story.append(f"{context.id} ends")

    bench = await working(handler, timeout=0.1, slots=1)
    await bench.post("stuck", "next")
    try:
        assert (await bench.noted("handler_overdue"))["job"] == "stuck"
        await bench.until(lambda counts: counts.dead == 1)
        assert "time-out of 0.1 s" in (await bench.dead())["stuck"]
    finally:
        release.set()
    await bench.until(lambda counts: not counts.unfinished)
    assert story == ["stuck begins", "stuck ends", "next begins", "next ends"]
    assert list(await bench.dead()) == ["stuck"]


async def test_a_stop_does_not_wait_for_a_thread_beyond_the_drain_and_gives_its_job_back(working):
    release, begun = threading.Event(), threading.Event()

    def handler(context):
        begun.set()
        release.wait(PATIENCE)

    bench = await working(handler, drain=0.1)
    await bench.post("stuck")
    try:
        await asyncio.to_thread(begun.wait, PATIENCE)
        report = await bench.runtime.stop()
        assert report.seconds < 5
        assert (report.forced, report.abandoned) == ((), ())
        counts = await bench.queue.counts("jobs")
        assert (counts.pending, counts.in_flight) == (1, 0)
    finally:
        release.set()
