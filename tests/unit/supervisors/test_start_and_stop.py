"""The order of starts and stops: rules S1, S2, S5 and S6 of docs/semantics.md, as a supervisor keeps them."""

import asyncio

import pytest
from support.puppets import puppet, recorded, running, virtual

from forebay import (
    ChildSpec,
    Exited,
    Limits,
    Restart,
    RestartScheduled,
    Shutdown,
    Started,
    StartFailed,
    Strategy,
    SupervisorSpec,
)
from forebay.scenarios.loop import running_loop
from forebay.supervisors.runtime import Runtime, RuntimeStartFailed
from forebay.testing import crash, virtual_runtime


def taking(seconds):
    return lambda ctx: asyncio.sleep(seconds)


def timed(events):
    return [(type(event).__name__, event.path, event.at) for event in events]


@virtual
async def test_the_next_child_starts_when_the_one_before_has_started():
    """S1."""
    inner = ChildSpec("s", SupervisorSpec(children=(puppet("b", start=taking(2.0)), puppet("c"))))
    runtime = virtual_runtime(SupervisorSpec(children=(puppet("a", start=taking(1.0)), inner, puppet("d"))))
    events = recorded(runtime, Started)
    await runtime.start()
    assert [(event.path, event.at) for event in events] == [
        ("/a", 1.0), ("/s/b", 3.0), ("/s/c", 3.0), ("/s", 3.0), ("/d", 3.0),
    ]  # fmt: skip
    await runtime.stop()


@virtual
async def test_children_stop_in_reverse_order_one_after_the_other():
    """S2."""
    inner = ChildSpec("s", SupervisorSpec(children=(puppet("b", stop=taking(2.0)), puppet("c", stop=taking(1.0)))))
    async with running(puppet("a", stop=taking(1.0)), inner, puppet("d", stop=taking(1.0))) as runtime:
        events = recorded(runtime, Exited)
        await runtime.stop()
        assert [(event.path, event.at) for event in events] == [
            ("/d", 1.0), ("/s/c", 2.0), ("/s/b", 4.0), ("/s", 4.0), ("/a", 5.0),
        ]  # fmt: skip
        assert {type(event.exit) for event in events} == {Shutdown}


@virtual
async def test_a_supervisor_has_all_the_time_that_its_children_need():
    """S2, S5: no grace of its own cuts theirs; the deadline of the whole stop alone does."""
    slow = {"stop": taking(20.0), "limits": Limits(shutdown=20.0)}
    inner = ChildSpec("s", SupervisorSpec(children=(puppet("b", **slow), puppet("c", **slow))))
    async with running(inner) as runtime:
        await runtime.supervisor().terminate_child("s")
        assert asyncio.get_running_loop().time() == 40.0


@virtual
async def test_children_of_a_dynamic_supervisor_stop_at_the_same_time():
    """S2."""
    children = [puppet(name, stop=taking(seconds)) for name, seconds in (("a", 1.0), ("b", 3.0), ("c", 2.0))]
    async with running(*children, strategy=Strategy.DYNAMIC) as runtime:
        events = recorded(runtime, Exited)
        await runtime.stop()
        assert [(event.path, event.at) for event in events] == [("/a", 1.0), ("/c", 2.0), ("/b", 3.0)]


@virtual
async def test_a_stop_during_the_start_starts_nothing_more():
    """S6: of three children one runs, one is being started, one has not begun."""
    children = (puppet("a"), puppet("b", start=taking(100.0)), puppet("c"))
    runtime = virtual_runtime(SupervisorSpec(children=children))
    events = recorded(runtime, Started, StartFailed, Exited)
    starting = asyncio.get_running_loop().create_task(runtime.start())
    await asyncio.sleep(1)
    await runtime.stop()
    with pytest.raises(RuntimeStartFailed):
        await starting
    assert timed(events) == [("Started", "/a", 0.0), ("StartFailed", "/b", 1.0), ("Exited", "/a", 1.0)]


@virtual
async def test_a_stop_during_a_group_restart_announces_and_starts_nothing_more():
    """R8, S6: `b` and `c` are being stopped for the sake of `a`."""
    slow = {"stop": taking(2.0)}
    async with running(puppet("a"), puppet("b", **slow), puppet("c", **slow), strategy=Strategy.ONE_FOR_ALL) as runtime:
        events = recorded(runtime, Started, Exited, RestartScheduled)
        await crash(runtime, "/a")
        await asyncio.sleep(1)
        await runtime.stop()
        assert timed(events) == [("Exited", "/a", 0.0), ("Exited", "/c", 2.0), ("Exited", "/b", 4.0)]


@virtual
async def test_a_deadline_that_passes_reaches_every_level_at_once():
    """S5: past the deadline all that still run are cancelled, whoever is being waited for."""
    patient = {"stop": taking(100.0), "limits": Limits(shutdown=100.0)}
    inner = ChildSpec("s", SupervisorSpec(children=(puppet("b", **patient), puppet("c", **patient))))
    async with running(puppet("a", **patient), inner, puppet("d", **patient), deadline=1000.0) as runtime:
        events = recorded(runtime, Exited)
        report = await runtime.stop(5.0)
        # d had begun to stop: its on_stop is cut at the deadline. The others begin there, and have half a second for it.
        assert {event.path: event.at for event in events} == {"/d": 5.0, "/s/c": 5.5, "/s/b": 5.5, "/s": 5.5, "/a": 5.5}
        assert report.seconds == 5.5
        assert set(report.forced) == {"/a", "/s/b", "/s/c", "/d"}


@virtual
async def test_a_second_stop_with_less_grace_hastens_the_first():
    """S5: only an earlier end counts."""
    slow = {"stop": taking(50.0), "limits": Limits(shutdown=50.0)}
    async with running(puppet("a", **slow), deadline=100.0) as runtime:
        first = asyncio.get_running_loop().create_task(runtime.stop())
        await asyncio.sleep(1)
        second = asyncio.get_running_loop().create_task(runtime.stop(2.0))
        await asyncio.sleep(0)
        third = asyncio.get_running_loop().create_task(runtime.stop(40.0))
        reports = await asyncio.gather(first, second, third)
        assert {report.seconds for report in reports} == {3.0}


@virtual
async def test_a_temporary_child_stopped_with_its_supervisor_is_gone_and_the_others_are_told_why():
    """S2, R2."""
    async with running(puppet("a"), puppet("t", restart=Restart.TEMPORARY)) as runtime:
        events = recorded(runtime, Exited)
        await runtime.stop()
        assert [(event.path, event.exit) for event in events] == [
            ("/t", Shutdown("the runtime stops")),
            ("/a", Shutdown("the runtime stops")),
        ]


@virtual
async def test_every_resource_is_stopped_the_last_first_also_when_one_fails_to_stop():
    calls = []

    class Thing:
        def __init__(self, name, broken=False):
            self.name, self.broken = name, broken

        async def start(self):
            calls.append(f"{self.name} starts")

        async def stop(self):
            calls.append(f"{self.name} stops")
            if self.broken:
                raise OSError("cannot let go")

    clock = running_loop().clock
    runtime = Runtime(SupervisorSpec(), resources=[Thing("log"), Thing("queue", broken=True)], clock=clock, seed=1)
    with pytest.raises(OSError, match="cannot let go"):
        async with runtime:
            calls.append("runs")
    assert calls == ["log starts", "queue starts", "runs", "queue stops", "log stops"]
    assert runtime.report is not None
