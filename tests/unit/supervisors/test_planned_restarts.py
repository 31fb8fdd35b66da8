"""Requests and ends that meet a planned restart: rule R13 of docs/semantics.md, and R3 for groups."""

import asyncio

import pytest
from support.planned import OFTEN, SLOW, Failing, states, waiting
from support.puppets import puppet, recorded, running, settled, virtual

from forebay import (
    Backoff,
    Exhausted,
    Exited,
    Intensity,
    Limits,
    Restart,
    Started,
    StartFailed,
    Strategy,
    SupervisorSpec,
)
from forebay.supervisors.requests import ChildStartFailed, NoSuchChild
from forebay.testing import crash, until_event, virtual_runtime


async def made_to_wait(runtime, path, start):
    """Let the child fail until its next restart is some time away."""
    start.times = 1
    runtime.inject(path, ValueError("down"))
    await until_event(runtime, waiting(path))


@virtual
async def test_restarting_one_of_two_that_wait_leaves_the_other_waiting():
    """Nor does it touch one that runs."""
    fails = {name: Failing() for name in "abc"}
    children = [puppet(name, start=start) for name, start in fails.items()]
    async with running(*children, intensity=OFTEN, backoff=SLOW) as runtime:
        for name in "bc":
            await made_to_wait(runtime, f"/{name}", fails[name])
        started = recorded(runtime, Started)
        await runtime.supervisor().restart_child("c")
        assert states(runtime) == {"/a": "running", "/b": "waiting", "/c": "running"}
        assert [event.path for event in started] == ["/c"]


@virtual
async def test_a_temporary_child_added_to_a_group_that_waits_ends_with_its_restart():
    """It is stopped with the group and never started again."""
    for strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE):
        start = Failing()
        async with running(puppet("a", start=start), strategy=strategy, intensity=OFTEN, backoff=SLOW) as runtime:
            await made_to_wait(runtime, "/a", start)
            await runtime.supervisor().start_child(puppet("t", restart=Restart.TEMPORARY))
            events = recorded(runtime, Started, Exited)
            await runtime.supervisor().restart_child("a")
            assert [(type(event), event.path) for event in events] == [(Exited, "/t"), (Started, "/a")]
            assert states(runtime) == {"/a": "running"}


@virtual
async def test_terminating_the_one_a_group_waits_for_leaves_members_that_run_alone():
    start = Failing()
    children = (puppet("a", start=start), puppet("b"))
    async with running(*children, strategy=Strategy.REST_FOR_ONE, intensity=OFTEN, backoff=SLOW) as runtime:
        await made_to_wait(runtime, "/a", start)
        await runtime.supervisor().start_child(puppet("c"))
        await runtime.supervisor().terminate_child("a")
        await settled(runtime, "/b")
        assert states(runtime) == {"/a": "stopped", "/b": "running", "/c": "running"}
        assert {path: runtime.tree().find(path).incarnation for path in ("/b", "/c")} == {"/b": 2, "/c": 1}


@virtual
async def test_a_group_restart_by_request_that_fails_names_the_member_that_failed():
    for failing in ("a", "b"):
        starts = {name: Failing() for name in "abc"}
        children = [puppet(name, start=start) for name, start in starts.items()]
        async with running(*children, strategy=Strategy.REST_FOR_ONE, intensity=OFTEN, backoff=SLOW) as runtime:
            await made_to_wait(runtime, "/a", starts["a"])
            starts[failing].times = 1
            with pytest.raises(ChildStartFailed, match=f"/{failing} did not start: failed: ValueError: not yet"):
                await runtime.supervisor().restart_child("c")


@virtual
async def test_a_restart_made_sooner_is_not_made_again_at_the_time_once_planned():
    """It failed at a member that comes first; the next try is that one's, which has failed often and waits for longer."""
    starts = {name: Failing() for name in "ab"}
    children = [puppet(name, start=start) for name, start in starts.items()]
    async with running(*children, strategy=Strategy.ONE_FOR_ALL, intensity=OFTEN, backoff=Backoff(0.01, 1000.0)) as runtime:
        starts["a"].times = 10
        runtime.inject("/a", ValueError("down"))
        await until_event(runtime, lambda event: isinstance(event, Started) and event.path == "/b")
        await made_to_wait(runtime, "/b", starts["b"])
        planned = runtime.tree().find("/b").next_restart
        starts["a"].times = 1000
        with pytest.raises(ChildStartFailed):
            await runtime.supervisor().restart_child("b")
        tries = recorded(runtime, StartFailed)
        assert runtime.tree().find("/a").next_restart > 2 * planned
        await asyncio.sleep(2 * planned)
        assert tries == []


@virtual
async def test_a_restart_by_request_that_a_stop_cuts_short_says_so():
    """It does not give the reason of an earlier end."""
    slow = Failing()

    async def start(ctx):
        slow(ctx)
        if ctx.incarnation > 1:
            await asyncio.sleep(1000)

    async with running(puppet("a", start=start), intensity=OFTEN, backoff=SLOW) as runtime:
        await made_to_wait(runtime, "/a", slow)
        asked = asyncio.get_running_loop().create_task(runtime.supervisor().restart_child("a"))
        await asyncio.sleep(1)
        await runtime.stop()
        with pytest.raises(ChildStartFailed, match="/a did not start: the start was cut short"):
            await asked


@virtual
async def test_a_member_whose_start_was_given_up_counts_no_restart():
    """Its sibling has ended meanwhile, and takes it along in a restart of its own."""

    async def ending_soon(ctx):
        ctx.timer("end", 5.0, lambda ctx: 1 / 0)

    first = puppet("a", start=lambda ctx: ending_soon(ctx) if ctx.incarnation == 2 else None)
    slow = puppet("b", start=lambda ctx: asyncio.sleep(10) if ctx.incarnation == 2 else None)
    async with running(first, slow, puppet("c"), strategy=Strategy.ONE_FOR_ALL, intensity=OFTEN) as runtime:
        await crash(runtime, "/c")
        await asyncio.sleep(100)
        restarts = {node.path: node.restarts for node in runtime.tree().children}
        assert restarts == {"/a": 2, "/b": 2, "/c": 1}


@virtual
async def test_a_child_that_would_fall_into_a_restart_is_not_added():
    """Its group is about to be stopped: whoever asked is told."""
    slow = puppet("a", start=lambda ctx: asyncio.sleep(5) if ctx.incarnation == 2 else None)
    async with running(slow, puppet("b"), strategy=Strategy.REST_FOR_ONE, intensity=OFTEN) as runtime:
        handle, loop = runtime.supervisor(), asyncio.get_running_loop()
        await handle.terminate_child("a")
        restarted = loop.create_task(handle.restart_child("a"))
        await asyncio.sleep(1)
        added = loop.create_task(handle.start_child(puppet("c")))
        await asyncio.sleep(1)
        runtime.inject("/b", ValueError("down"))
        await restarted
        with pytest.raises(ChildStartFailed, match="/c did not start: the start was cut short"):
            await added
        await settled(runtime, "/b")
        assert states(runtime) == {"/a": "running", "/b": "running"}


@virtual
async def test_a_parked_child_that_was_deleted_does_not_come_back():
    park = {"exhausted": Exhausted.PARK, "cool_off": 10.0, "intensity": Intensity(0, 1.0)}
    async with running(puppet("a"), **park) as runtime:
        await crash(runtime, "/a")
        await asyncio.sleep(1)
        assert states(runtime) == {"/a": "parked"}
        await runtime.supervisor().delete_child("a")
        started = recorded(runtime, Started)
        await asyncio.sleep(100)
        assert (started, states(runtime)) == ([], {})


@virtual
async def test_asked_to_stop_again_only_an_earlier_deadline_counts():
    def deaf(ctx):
        return asyncio.sleep(1000)

    for first, second, seconds in ((5.0, 50.0, 5.0), (50.0, 5.0, 6.0)):
        child = puppet("a", stop=deaf, limits=Limits(shutdown=60.0))
        runtime = virtual_runtime(SupervisorSpec(children=(child,)), deadline=100.0)
        await runtime.start()
        loop = asyncio.get_running_loop()
        began = loop.time()
        stops = [loop.create_task(runtime.stop(first))]
        await asyncio.sleep(1)
        stops.append(loop.create_task(runtime.stop(second)))
        await asyncio.gather(*stops)
        assert seconds <= loop.time() - began <= seconds + 1.0


@virtual
async def test_a_child_that_is_not_there_is_refused_with_those_that_are():
    for children, known in (((), "none"), ((puppet("a"), puppet("b")), "a, b")):
        async with running(*children) as runtime:
            with pytest.raises(NoSuchChild, match=f"it has: {known}$"):
                await runtime.supervisor().terminate_child("z")


@virtual
async def test_an_asker_that_goes_while_its_start_fails_harms_nobody():
    async with running() as runtime:

        async def failing(ctx):
            await asyncio.sleep(5)
            raise ValueError("not yet")

        asker = asyncio.get_running_loop().create_task(runtime.supervisor().start_child(puppet("a", start=failing)))
        await asyncio.sleep(1)
        asker.cancel()
        await asyncio.sleep(10)
        await runtime.supervisor().start_child(puppet("b"))
        assert (states(runtime), runtime.tree().incarnation) == ({"/b": "running"}, 1)
