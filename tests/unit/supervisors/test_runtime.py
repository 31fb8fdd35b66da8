"""The runtime around a tree: what it stands on, what can be asked of it, and when it says no (A5, A6)."""

import asyncio

import pytest
from support.puppets import boom, puppet, running, virtual

from forebay import ChildSpec, Ending, Intensity, NoSuchChild, State, SupervisorSpec
from forebay.actors.exits import ActorError
from forebay.supervisors.runtime import Runtime, RuntimeFailed, RuntimeStartFailed
from forebay.testing import virtual_runtime

TREE = SupervisorSpec(children=(puppet("a"), ChildSpec("s", SupervisorSpec(children=(puppet("b"),)))))


class Ground:
    """A resource that says what is done to it."""

    def __init__(self, name, said, starts_in=0.0, error=None):
        self.name, self.said, self.starts_in, self.error = name, said, starts_in, error

    async def start(self):
        await asyncio.sleep(self.starts_in)
        self.said.append(f"{self.name} starts")
        if self.error is not None:
            raise self.error

    async def stop(self):
        self.said.append(f"{self.name} stops")


def on(tree, *resources):
    loop = asyncio.get_running_loop()
    return Runtime(tree, clock=loop.clock, streams=loop.streams.stream, resources=resources)


@virtual
async def test_resources_start_before_the_tree_and_stop_after_it_in_reverse():
    said = []
    tree = SupervisorSpec(
        children=(puppet("a", start=lambda ctx: said.append("a starts"), stop=lambda ctx: said.append("a stops")),)
    )
    async with on(tree, Ground("one", said), Ground("two", said)):
        pass
    assert said == ["one starts", "two starts", "a starts", "a stops", "two stops", "one stops"]


@virtual
async def test_a_resource_that_does_not_start_raises_its_own_error_and_the_others_are_let_go():
    said = []
    runtime = on(TREE, Ground("one", said), Ground("two", said, error=OSError("no disk")))
    with pytest.raises(OSError, match="no disk"):
        await runtime.start()
    assert said == ["one starts", "two starts", "two stops", "one stops"]


@virtual
async def test_a_stop_that_comes_while_resources_start_stops_the_tree_at_once():
    said = []
    runtime = on(TREE, Ground("one", said, starts_in=5.0))
    starting = asyncio.get_running_loop().create_task(runtime.start())
    await asyncio.sleep(1)
    report = await runtime.stop()
    await asyncio.wait([starting])
    assert isinstance(starting.exception(), RuntimeStartFailed)
    assert (said, report.ending) == (["one starts", "one stops"], Ending.CLEAN)
    assert runtime.tree().children == ()


@virtual
async def test_a_runtime_runs_once():
    async with virtual_runtime(TREE) as runtime:
        with pytest.raises(ActorError, match="was started before"):
            await runtime.start()
    with pytest.raises(ActorError, match="was started before"):
        await runtime.start()


@virtual
async def test_what_was_never_started_can_be_looked_at_but_not_waited_for():
    runtime = virtual_runtime(TREE)
    assert runtime.tree().state is State.STOPPED
    for wait in (runtime.wait, runtime.stop):
        with pytest.raises(ActorError, match="never started"):
            await wait()
    with pytest.raises(NoSuchChild):
        runtime.supervisor()


@virtual
async def test_waiting_returns_when_the_tree_has_stopped_and_raises_when_it_gave_up():
    runtime = virtual_runtime(TREE)
    await runtime.start()
    waiting = asyncio.get_running_loop().create_task(runtime.wait())
    await asyncio.sleep(5)
    await runtime.stop()
    await waiting
    runtime = virtual_runtime(SupervisorSpec(children=(puppet("a"),), intensity=Intensity(0, 1.0)))
    await runtime.start()
    runtime.ref("/a").tell(boom)
    with pytest.raises(RuntimeFailed, match="gave up on its child a"):
        await runtime.wait()


@virtual
async def test_supervisors_are_found_by_path():
    async with virtual_runtime(TREE) as runtime:
        assert [runtime.supervisor(path).path for path in ("/", "/s")] == ["/", "/s"]
        for path in ("/a", "/z", "/s/b", "/z/z"):
            with pytest.raises(NoSuchChild, match=f"no supervisor runs at {path}"):
                runtime.supervisor(path)


@virtual
async def test_nothing_can_be_injected_where_nothing_runs():
    async with running(puppet("a")) as runtime:
        await runtime.supervisor().terminate_child("a")
        with pytest.raises(LookupError, match="/a is not running"):
            runtime.inject("/a", ValueError())
        with pytest.raises(LookupError, match="no actor at /z"):
            runtime.inject("/z", ValueError())
