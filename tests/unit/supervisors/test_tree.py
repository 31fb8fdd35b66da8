"""The picture of the tree says what is there (row A6)."""

import asyncio

from support.puppets import boom, puppet, running, settled, virtual

from forebay import Backoff, ChildSpec, Intensity, MailboxSpec, RestartScheduled, State, Strategy, SupervisorSpec
from forebay.testing import crash, until_event

OFTEN = Intensity(100, 100_000.0)
SLOW = Backoff(50.0, 50.0)


@virtual
async def test_a_supervisor_and_an_actor_are_told_apart():
    below = SupervisorSpec(children=(puppet("a"),), strategy=Strategy.ONE_FOR_ALL)
    async with running(ChildSpec("s", below), strategy=Strategy.REST_FOR_ONE) as runtime:
        top, middle, leaf = runtime.tree().walk()
        assert [(node.path, node.kind, node.strategy) for node in (top, middle, leaf)] == [
            ("/", "supervisor", "rest_for_one"),
            ("/s", "supervisor", "one_for_all"),
            ("/s/a", "actor", None),
        ]
        assert (middle.mailbox, middle.children, leaf.children) == (None, (leaf,), ())


@virtual
async def test_a_mailbox_shows_its_depth_and_what_became_of_messages():
    async with running(puppet("a", mailbox=MailboxSpec(capacity=10))) as runtime:
        ref = runtime.ref("/a")
        ref.tell(1)
        await settled(runtime)
        before = runtime.tree().find("/a").mailbox
        assert (before.depth, before.capacity, before.handled, before.dropped, before.dead_letters) == (0, 10, 2, 0, 0)
        ref.tell(lambda ctx: asyncio.sleep(5))
        await asyncio.sleep(1)
        for message in range(3):
            ref.tell(message)
        full = runtime.tree().find("/a").mailbox
        assert (full.depth, full.high_water, full.handled) == (3, 3, 2)
        ref.tell(boom)
        await settled(runtime)
        after = runtime.tree().find("/a").mailbox
        assert (after.depth, after.dead_letters) == (0, 1)


@virtual
async def test_a_child_that_waits_shows_when_it_comes_again_and_why_it_went():
    async with running(puppet("a"), intensity=OFTEN, backoff=SLOW) as runtime:
        fresh = runtime.tree().find("/a")
        assert (fresh.next_restart, fresh.last_exit, fresh.tasks) == (None, None, ())
        await crash(runtime, "/a")
        await settled(runtime)
        runtime.inject("/a", ValueError("again"))
        due = await until_event(runtime, lambda event: isinstance(event, RestartScheduled))
        await asyncio.sleep(due.delay / 2)
        waiting = runtime.tree().find("/a")
        assert waiting.state is State.WAITING
        assert abs(waiting.next_restart - due.delay / 2) < 1e-6
        assert waiting.last_exit == "failed: ValueError: again"


@virtual
async def test_an_actors_tasks_are_named_while_they_run():
    async with running(puppet("a", start=lambda ctx: ctx.run("chore", asyncio.sleep(5)) and None)) as runtime:
        assert runtime.tree().find("/a").tasks == ("chore",)
        await asyncio.sleep(10)
        assert runtime.tree().find("/a").tasks == ()


@virtual
async def test_failures_in_a_row_are_forgotten_in_the_picture_as_soon_as_they_are_in_fact():
    async with running(puppet("a"), intensity=OFTEN, stable_after=10.0) as runtime:
        await crash(runtime, "/a")
        await asyncio.sleep(1)
        assert runtime.tree().find("/a").failures == 1
        await asyncio.sleep(10)
        assert runtime.tree().find("/a").failures == 0
