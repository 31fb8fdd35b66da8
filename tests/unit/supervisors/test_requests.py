"""Changing a tree while it runs: rule R13 of docs/semantics.md."""

import asyncio

import pytest
from support.planned import OFTEN, SLOW, Failing, states, waiting
from support.puppets import puppet, recorded, running, settled, virtual

from forebay import (
    ActorStopped,
    Backoff,
    ChildSpec,
    Exhausted,
    Exited,
    Incident,
    Intensity,
    Normal,
    Restart,
    Shutdown,
    Started,
    StartFailed,
    Strategy,
    SupervisorSpec,
    SupervisorStopped,
)
from forebay.supervisors.requests import ChildStartFailed, NoSuchChild, WrongChildState
from forebay.testing import crash, until_event, virtual_runtime

# ---------------------------------------------------------------------------------------------- start


@virtual
async def test_a_child_started_at_run_time_comes_last_in_the_order():
    async with running(puppet("a")) as runtime:
        ref = await runtime.supervisor().start_child(puppet("b"))
        assert ref == runtime.ref("/b")
        ends = recorded(runtime, Exited)
        await runtime.stop()
        assert [end.path for end in ends] == ["/b", "/a"]


@virtual
async def test_a_supervisor_started_at_run_time_has_no_ref():
    async with running() as runtime:
        assert await runtime.supervisor().start_child(ChildSpec("s", SupervisorSpec(children=(puppet("a"),)))) is None
        assert states(runtime) == {"/s": "running", "/s/a": "running"}


@virtual
async def test_a_start_that_fails_adds_nothing_and_says_why():
    async with running() as runtime:
        with pytest.raises(ChildStartFailed, match="/a did not start: failed: ValueError: not yet"):
            await runtime.supervisor().start_child(puppet("a", start=Failing(1)))
        assert runtime.tree().children == ()
        with pytest.raises(LookupError):
            runtime.ref("/a")
        await runtime.supervisor().start_child(puppet("a"))
        assert runtime.tree().find("/a").incarnation == 2  # a path goes on counting


@virtual
async def test_an_id_that_is_taken_and_a_child_too_many_are_refused():
    async with running(puppet("a"), strategy=Strategy.DYNAMIC, max_children=2) as runtime:
        handle = runtime.supervisor()
        with pytest.raises(WrongChildState, match="/a is there already"):
            await handle.start_child(puppet("a"))
        await handle.start_child(puppet("b"))
        with pytest.raises(WrongChildState, match="holds its 2 children already"):
            await handle.start_child(puppet("c"))
        assert states(runtime) == {"/a": "running", "/b": "running"}


# ---------------------------------------------------------------------------------------------- terminate, delete


@virtual
async def test_a_terminated_child_stays_stopped_until_it_is_restarted_or_deleted():
    async with running(puppet("a"), puppet("b", restart=Restart.TEMPORARY)) as runtime:
        handle = runtime.supervisor()
        await handle.terminate_child("a")
        await handle.terminate_child("b")
        assert states(runtime) == {"/a": "stopped"}
        await asyncio.sleep(1000)
        assert states(runtime) == {"/a": "stopped"}
        await handle.restart_child("a")
        assert (states(runtime), runtime.tree().find("/a").restarts) == ({"/a": "running"}, 1)
        await handle.terminate_child("a")
        await handle.delete_child("a")
        assert states(runtime) == {}


@virtual
async def test_requests_in_the_wrong_state_are_refused_with_what_to_do():
    async with running(puppet("a"), intensity=OFTEN, backoff=SLOW) as runtime:
        handle = runtime.supervisor()
        for request in (handle.restart_child, handle.delete_child):
            with pytest.raises(WrongChildState, match="/a is running; terminate it first"):
                await request("a")
        for request in (handle.restart_child, handle.delete_child, handle.terminate_child, handle.child_ended):
            with pytest.raises(NoSuchChild, match="/ has no child 'z'"):
                await request("z")
        await crash(runtime, "/a")
        await settled(runtime)
        runtime.inject("/a", ValueError("again"))
        await until_event(runtime, waiting("/a"))
        with pytest.raises(WrongChildState, match="/a is waiting; terminate it first"):
            await handle.delete_child("a")
        await handle.terminate_child("a")
        await handle.delete_child("a")
        assert states(runtime) == {}


@virtual
async def test_terminating_the_member_that_a_group_waits_for_lets_the_others_start():
    """They would be stopped for ever."""
    for strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE):
        start = Failing()
        children = (puppet("a"), puppet("b", start=start), puppet("c"))
        async with running(*children, strategy=strategy, intensity=OFTEN, backoff=SLOW) as runtime:
            start.times = 100
            runtime.inject("/b", ValueError("down"))
            await until_event(runtime, waiting("/b"))
            await runtime.supervisor().terminate_child("b")
            await settled(runtime, "/c")
            assert states(runtime) == {"/a": "running", "/b": "stopped", "/c": "running"}


# ---------------------------------------------------------------------------------------------- restart


@virtual
async def test_restarting_a_waiting_member_restarts_its_group_now():
    """Also when asked of one that waits for it: never one without those that it stands on."""
    for asked in ("a", "c"):
        start = Failing()
        children = (puppet("a", start=start), puppet("b"), puppet("c"))
        async with running(*children, strategy=Strategy.REST_FOR_ONE, intensity=OFTEN, backoff=SLOW) as runtime:
            start.times = 1
            runtime.inject("/a", ValueError("down"))
            await until_event(runtime, waiting("/a"))
            assert set(states(runtime).values()) == {"waiting"}
            await runtime.supervisor().restart_child(asked)
            assert set(states(runtime).values()) == {"running"}


@virtual
async def test_a_waiting_child_whose_restart_by_request_fails_goes_on_waiting():
    """It is not stopped for good."""
    start = Failing()
    async with running(puppet("a", start=start), intensity=OFTEN, backoff=SLOW) as runtime:
        start.times = 3
        runtime.inject("/a", ValueError("down"))
        await until_event(runtime, waiting("/a"))
        with pytest.raises(ChildStartFailed, match="/a did not start: failed: ValueError: not yet"):
            await runtime.supervisor().restart_child("a")
        assert states(runtime) == {"/a": "waiting"}
        await until_event(runtime, lambda event: isinstance(event, Started), timeout=1000)


@virtual
async def test_a_parked_child_whose_restart_by_request_fails_is_tried_again():
    start = Failing()
    park = {"exhausted": Exhausted.PARK, "intensity": Intensity(1, 100.0)}
    async with running(puppet("a", start=start), **park) as runtime:
        start.times = 2
        runtime.inject("/a", ValueError("down"))
        await asyncio.sleep(1)
        assert states(runtime) == {"/a": "parked"}
        with pytest.raises(ChildStartFailed):
            await runtime.supervisor().restart_child("a")
        await until_event(runtime, lambda event: isinstance(event, Started))


@virtual
async def test_a_stopped_child_whose_restart_fails_stays_stopped():
    start = Failing()
    async with running(puppet("a", start=start)) as runtime:
        await runtime.supervisor().terminate_child("a")
        start.times = 1
        incidents = recorded(runtime, Incident)
        with pytest.raises(ChildStartFailed):
            await runtime.supervisor().restart_child("a")
        await asyncio.sleep(100)
        assert (states(runtime), incidents) == ({"/a": "stopped"}, [])


# ---------------------------------------------------------------------------------------------- one at a time, and the end


@virtual
async def test_requests_are_served_one_at_a_time_in_the_order_asked():
    slow = puppet("a", start=lambda ctx: asyncio.sleep(5))
    async with running() as runtime:
        handle = runtime.supervisor()
        loop = asyncio.get_running_loop()
        events = recorded(runtime, Started, Exited)
        asked = [handle.start_child(slow), handle.start_child(puppet("b")), handle.terminate_child("a")]
        await asyncio.gather(*map(loop.create_task, asked))
        assert [(type(event).__name__, event.path) for event in events] == [
            ("Started", "/a"),
            ("Started", "/b"),
            ("Exited", "/a"),
        ]


@virtual
async def test_requests_to_a_supervisor_that_ends_are_refused():
    runtime = virtual_runtime(SupervisorSpec(children=(puppet("a", stop=lambda ctx: asyncio.sleep(2)),)))
    await runtime.start()
    handle = runtime.supervisor()
    assert handle.path == "/"
    loop = asyncio.get_running_loop()
    busy = loop.create_task(handle.terminate_child("a"))
    queued = loop.create_task(handle.start_child(puppet("b")))
    await asyncio.sleep(1)
    stopping = loop.create_task(runtime.stop())
    await asyncio.sleep(0)
    with pytest.raises(SupervisorStopped, match="/ is stopping"):
        await handle.start_child(puppet("c"))
    await asyncio.gather(busy, stopping)
    with pytest.raises(SupervisorStopped, match="/ has stopped"):
        await queued
    with pytest.raises(SupervisorStopped):
        await handle.terminate_child("a")


@virtual
async def test_a_start_by_request_that_a_stop_cuts_short_was_not_made():
    runtime = virtual_runtime(SupervisorSpec())
    await runtime.start()
    events = recorded(runtime, Started, StartFailed)
    asked = asyncio.get_running_loop().create_task(
        runtime.supervisor().start_child(puppet("a", start=lambda ctx: asyncio.sleep(100)))
    )
    await asyncio.sleep(1)
    await runtime.stop()
    with pytest.raises(ChildStartFailed, match="/a did not start: the start was cut short"):
        await asked
    assert [type(event) for event in events] == [StartFailed]


@virtual
async def test_a_request_whose_asker_has_gone_before_its_turn_is_not_done():
    async with running(puppet("a")) as runtime:
        handle, loop = runtime.supervisor(), asyncio.get_running_loop()
        busy = loop.create_task(handle.start_child(puppet("b", start=lambda ctx: asyncio.sleep(5))))
        gone = loop.create_task(handle.terminate_child("a"))
        await asyncio.sleep(1)
        gone.cancel()
        await busy
        await settled(runtime, "/b")
        assert states(runtime) == {"/a": "running", "/b": "running"}


@virtual
async def test_a_request_whose_asker_goes_in_its_turn_is_done_all_the_same():
    async with running(puppet("c")) as runtime:
        handle, loop = runtime.supervisor(), asyncio.get_running_loop()
        for child in (puppet("a", start=lambda ctx: asyncio.sleep(5)), puppet("b", start=Failing(1))):
            asker = loop.create_task(handle.start_child(child))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            asker.cancel()
        await asyncio.sleep(10)
        assert states(runtime) == {"/c": "running", "/a": "running"}


@virtual
async def test_a_restart_that_fell_due_while_its_child_was_being_terminated_is_not_made():
    async with running(puppet("a"), intensity=OFTEN, backoff=Backoff(2.0, 2.0)) as runtime:
        handle, loop = runtime.supervisor(), asyncio.get_running_loop()
        await crash(runtime, "/a")
        await settled(runtime)
        runtime.inject("/a", ValueError("again"))
        await until_event(runtime, waiting("/a"))
        busy = loop.create_task(handle.start_child(puppet("b", start=lambda ctx: asyncio.sleep(5))))
        await asyncio.sleep(0)
        await handle.terminate_child("a")  # asked before, served after the restart was due
        await busy
        await asyncio.sleep(100)
        assert states(runtime) == {"/a": "stopped", "/b": "running"}


@virtual
async def test_the_end_of_a_child_can_be_waited_for():
    async with running(puppet("a", restart=Restart.TRANSIENT), puppet("b")) as runtime:
        handle = runtime.supervisor()
        ends = [asyncio.get_running_loop().create_task(handle.child_ended("a")) for _ in range(2)]
        await asyncio.sleep(1)
        runtime.ref("/a").tell(lambda ctx: ctx.stop("finished"))
        assert await asyncio.gather(*ends) == [Normal("finished")] * 2
        assert await handle.child_ended("a") == Normal("finished")
        await handle.terminate_child("b")
        assert await handle.child_ended("b") == Shutdown("terminated by request")


@virtual
async def test_a_deleted_childs_mailbox_refuses_messages():
    async with running(puppet("a")) as runtime:
        ref = runtime.ref("/a")
        await runtime.supervisor().terminate_child("a")
        await runtime.supervisor().delete_child("a")
        with pytest.raises(ActorStopped, match="the child was removed"):
            ref.tell("late")
