"""Metrics of a runtime, as an OpenTelemetry SDK reads them (A6, O2)."""

import asyncio
import threading
import time

import attrs
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.puppets import boom, puppet, running, settled, virtual
from support.sources import ROOT

from forebay import (
    ChildSpec,
    Dropped,
    Escalated,
    Exited,
    HandlerStuck,
    Limits,
    LoopLag,
    MailboxSpec,
    Normal,
    Noted,
    Overflow,
    Parked,
    Restart,
    Runtime,
    RuntimeMeter,
    Started,
    StartFailed,
    Strategy,
    SupervisorSpec,
    Zombie,
)
from forebay.testing import crash, run_virtual, until_event, virtual_runtime


class Readings:
    """What the instruments say, by name and attributes."""

    def __init__(self, **options):
        self.reader = InMemoryMetricReader()
        provider = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)
        self.meter = RuntimeMeter(provider.get_meter("forebay"), **options)

    def points(self):
        data = self.reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics if data is not None else []
        return {metric.name: list(metric.data.data_points) for metric in metrics}

    def values(self, name):
        """Values by attributes."""
        points = self.points().get(f"forebay.{name}", [])
        return {tuple(sorted(point.attributes.items())): point.value for point in points}


FIELDS = {"exit": Normal(), "child": "a", "message": "int", "why": "full", "running": 1.0, "task": "t", "lag": 0.5}


def an(kind):
    """An event of this kind."""
    wanted = {field.name for field in attrs.fields(kind)}
    return kind(at=0.0, path="/a", incarnation=2, **{name: value for name, value in FIELDS.items() if name in wanted})


def at(path, **attributes):
    return tuple(sorted({"path": path, **attributes}.items()))


async def test_restarts_and_exits_are_counted_by_path():
    readings = Readings()
    tree = SupervisorSpec(children=[puppet("a"), puppet("b")])
    async with Runtime(tree) as runtime:
        with readings.meter.watch(runtime):
            await crash(runtime, "/a")
            assert await runtime.ref("/a").ask(lambda ctx: ctx.reply(ctx.incarnation), 5) == 2
            assert readings.values("actor.restarts") == {at("/a"): 1}
            assert readings.values("actor.exits") == {at("/a", exit="failed"): 1}


async def test_mailboxes_and_handled_messages_are_read_at_collection():
    readings = Readings()
    go = asyncio.Event()
    async with Runtime(SupervisorSpec(children=[puppet("a"), puppet("b")])) as runtime:
        with readings.meter.watch(runtime):
            runtime.ref("/a").tell(lambda ctx: go.wait())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for number in range(5):
                runtime.ref("/a").tell(number)
            assert readings.values("mailbox.depth") == {at("/a"): 5, at("/b"): 0}
            go.set()
            await settled(runtime)
            assert readings.values("mailbox.depth") == {at("/a"): 0, at("/b"): 0}
            assert readings.values("actor.messages") == {at("/a"): 7, at("/b"): 0}
            assert readings.values("actor.running") == {at("/a"): 1, at("/b"): 1}


async def test_totals_do_not_fall_when_a_place_is_removed_or_an_actor_restarts():
    readings = Readings()
    tree = SupervisorSpec(children=[puppet("a"), ChildSpec("d", SupervisorSpec(Strategy.DYNAMIC))])
    async with Runtime(tree) as runtime:
        with readings.meter.watch(runtime):
            for round_ in range(3):
                for name in ("x", "y"):
                    ref = await runtime.supervisor("/d").start_child(puppet(name, restart=Restart.TEMPORARY))
                    await settled(runtime, ref.path)
                    await runtime.supervisor("/d").terminate_child(name)
                assert sum(readings.values("actor.messages").values()) == 2 * (round_ + 1)


async def test_paths_are_cut_so_that_many_short_lived_actors_make_one_series():
    readings = Readings(depth=1)
    below = SupervisorSpec(children=[puppet("x"), puppet("y")])
    async with Runtime(SupervisorSpec(children=[ChildSpec("s", below)])) as runtime:
        with readings.meter.watch(runtime):
            await settled(runtime, "/s/x")
            await settled(runtime, "/s/y")
            assert readings.values("actor.messages") == {at("/s"): 2}


async def test_drops_dead_letters_and_a_used_up_budget_are_counted():
    readings = Readings()
    spec = MailboxSpec(capacity=1, overflow=Overflow.DROP_OLDEST)
    inner = SupervisorSpec(children=[puppet("x")])
    async with Runtime(SupervisorSpec(children=[puppet("a", mailbox=spec), ChildSpec("s", inner)])) as runtime:
        with readings.meter.watch(runtime):
            for number in range(4):
                runtime.ref("/a").tell(number)
            for _ in range(4):
                runtime.ref("/s/x").tell(boom)
            await until_event(runtime, lambda event: type(event).__name__ == "Escalated")
            assert readings.values("mailbox.dropped") == {at("/a"): 3}
            assert readings.values("mailbox.dead_letters")[at("/s/x")] == 4
            assert readings.values("supervisor.escalations") == {at("/s"): 1}


async def test_a_blocked_loop_and_a_stuck_handler_are_seen():
    readings = Readings()
    async with Runtime(SupervisorSpec(children=[puppet(limits=Limits(soft=0.01))])) as runtime:
        with readings.meter.watch(runtime):
            runtime.ref("/a").tell(lambda ctx: time.sleep(0.8))
            await until_event(runtime, lambda event: type(event).__name__ == "LoopLag")
            runtime.ref("/a").tell(lambda ctx: asyncio.sleep(60))
            await until_event(runtime, lambda event: type(event).__name__ == "HandlerStuck")
            runtime.ref("/a").place.process.task.cancel()
            lag = readings.points()["forebay.loop.lag"][0]
            assert (lag.count >= 1, lag.sum >= 0.1) == (True, True)  # a busy machine may block it once more
            assert readings.values("handler.stuck") == {at("/a"): 1}


async def test_several_runtimes_are_told_apart_by_attributes():
    readings = Readings()
    trees = [SupervisorSpec(children=[puppet("a")]) for _ in range(2)]
    async with Runtime(trees[0]) as one, Runtime(trees[1]) as other:
        with readings.meter.watch(one, runtime="one"), readings.meter.watch(other, runtime="other"):
            await settled(one)
            assert readings.values("actor.messages") == {at("/a", runtime="one"): 1, at("/a", runtime="other"): 0}
            assert readings.values("actor.running") == {at("/a", runtime="one"): 1, at("/a", runtime="other"): 1}
        assert readings.values("actor.running") == {}


async def test_readings_are_taken_from_another_thread_while_actors_come_and_go():
    readings = Readings()
    over = threading.Event()
    errors = []

    def collect():
        while not over.is_set():
            try:
                readings.points()
            except RuntimeError as error:
                errors.append(error)

    async with Runtime(SupervisorSpec(Strategy.DYNAMIC)) as runtime:
        with readings.meter.watch(runtime):
            thread = threading.Thread(target=collect)
            thread.start()
            for number in range(200):
                await runtime.supervisor().start_child(puppet(str(number), restart=Restart.TEMPORARY))
                await settled(runtime, f"/{number}")
                await runtime.supervisor().terminate_child(str(number))
            over.set()
            await asyncio.to_thread(thread.join)
            assert sum(readings.values("actor.messages").values()) == 200
    assert errors == []


@virtual
async def test_without_an_sdk_nothing_happens_and_nothing_fails():
    async with running(puppet()) as runtime:
        with RuntimeMeter().watch(runtime) as watch:
            await crash(runtime, "/a")
            await settled(runtime)
        watch.close()


async def test_what_the_relay_did_with_records_is_counted_by_records():
    """R6, R9."""
    readings = Readings()
    runtime = Runtime(SupervisorSpec())
    with readings.meter.watch(runtime):
        for name, fields in (
            ("shadowed", {"records": 30}),
            ("shadowed", {"records": 5}),
            ("put_back", {"offset": 7}),
            ("other", {}),
        ):
            runtime.events.emit(Noted(at=0.0, path="/a", incarnation=1, name=name, fields=tuple(fields.items())))
        counted = {name: readings.values(f"relay.{name}") for name in ("shadowed", "put_back", "parked")}
    assert counted == {"shadowed": {at("/a"): 35}, "put_back": {at("/a"): 1}, "parked": {}}


async def test_the_time_that_retention_leaves_is_read_as_it_was_last_noted_until_its_actor_ends():
    """R15."""
    readings = Readings()
    runtime = Runtime(SupervisorSpec())
    place = {"at": 0.0, "path": "/relays/relay[jobs]/term/retention_watch", "incarnation": 1}
    with readings.meter.watch(runtime):
        for seconds in (900.0, 840.5):
            fields = (("topic", "jobs"), ("seconds", seconds))
            runtime.events.emit(Noted(name="retention_left", fields=fields, **place))
        assert readings.values("relay.retention_left") == {at("/relays/relay[jobs]/term"): 840.5}
        runtime.events.emit(Exited(exit=Normal(), **place))
        assert readings.values("relay.retention_left") == {}


async def test_every_instrument_is_documented():
    readings = Readings()
    page = (ROOT / "docs" / "observing.md").read_text()
    with readings.meter.watch(Runtime(SupervisorSpec())) as watch:
        for event in (Started, Exited, StartFailed, Escalated, Parked, HandlerStuck, Dropped, Zombie, LoopLag):
            watch.runtime.events.emit(an(event))
        for name in ("shadowed", "put_back", "parked"):
            watch.runtime.events.emit(Noted(at=0.0, path="/a", incarnation=1, name=name, fields=()))
        async with Runtime(SupervisorSpec(children=[puppet()])) as runtime:
            with readings.meter.watch(runtime):
                names = list(readings.points())
    assert len(names) == 17
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_time_in_handlers_is_counted_with_their_waits_and_idle_time_is_not():
    async def nap(ctx):
        await asyncio.sleep(2)
        ctx.reply(None)

    async def main():
        async with virtual_runtime(SupervisorSpec(children=[puppet("a")])) as runtime:
            for _ in range(3):
                await runtime.ref("/a").ask(nap, 60)
                await asyncio.sleep(100)
            return runtime.system.cell("/a").busy

    assert run_virtual(main) == 6.0


async def test_the_time_in_handlers_is_read_at_collection():
    readings = Readings()
    async with Runtime(SupervisorSpec(children=[puppet("a"), puppet("b")])) as runtime:
        with readings.meter.watch(runtime):
            await settled(runtime)
            busy = readings.values("actor.busy")
            assert busy[at("/a")] == runtime.system.cell("/a").busy > 0
