"""Ordering: rules O1 to O4 of docs/semantics.md."""

import asyncio

from support.puppets import Puppet, puppet, running, settled, virtual

from forebay import Actor, ChildSpec, Down, MailboxSpec, Restart


@virtual
async def test_the_next_message_begins_when_the_handler_has_returned():
    """O1, also where the handlers wait and a timer fires meanwhile."""
    steps = []

    async def slow(ctx):
        steps.append("begin")
        await asyncio.sleep(1.0)
        steps.append("end")

    async with running(puppet(start=lambda ctx: ctx.timer("t", 0.5, slow))) as runtime:
        for _ in range(3):
            runtime.ref("/a").tell(slow)
        await settled(runtime)
    assert steps == ["begin", "end"] * 4


@virtual
async def test_messages_of_one_sender_are_handled_in_the_order_sent():
    """O2, by tell, send and ask in turn, through a mailbox that is full most of the time."""
    seen = []
    slow = 0.01

    class Slow(Puppet):
        async def on_message(self, ctx, message):
            await asyncio.sleep(slow)
            seen.append(message)
            ctx.reply(None)

    async def send_all(ref, sender):
        for number in range(0, 30, 3):
            await ref.send((sender, number))
            await ref.ask((sender, number + 1), 1e6)
            await ref.send((sender, number + 2))

    async with running(ChildSpec("a", Slow, mailbox=MailboxSpec(capacity=2))) as runtime:
        ref = runtime.ref("/a")
        await asyncio.gather(*(send_all(ref, sender) for sender in range(4)))
        await ref.ask("last", 1e6)
    for sender in range(4):
        assert [m[1] for m in seen if m != "last" and m[0] == sender] == list(range(30))


@virtual
async def test_the_system_lane_is_read_first_at_the_next_message_boundary():
    """O3: timer and monitor come before what was queued earlier; the message in hand is finished."""
    seen = []

    class Watcher(Actor):
        async def on_message(self, ctx, message):
            seen.append(type(message).__name__ if isinstance(message, Down) else message)
            if message == "work":
                ctx.monitor(gone)
                ctx.timer("now", 0.0, "timer")
                await asyncio.sleep(1.0)
                seen.append("worked")

    async with running(puppet("gone", restart=Restart.TEMPORARY), ChildSpec("a", Watcher)) as runtime:
        gone = runtime.ref("/gone")
        gone.tell(lambda ctx: ctx.stop())
        await asyncio.sleep(1.0)
        for message in ("work", "queued", "queued too"):
            runtime.ref("/a").tell(message)
        await asyncio.sleep(5.0)
    assert seen == ["work", "worked", "Down", "timer", "queued", "queued too"]


@virtual
async def test_a_stop_comes_before_what_is_queued():
    """O3."""
    seen = []
    async with running(puppet(seen=seen)) as runtime:
        runtime.ref("/a").tell(lambda ctx: asyncio.sleep(1.0))
        runtime.ref("/a").tell("queued")
        await asyncio.sleep(0.5)
    assert seen == []


@virtual
async def test_an_actor_that_never_waits_lets_others_run_after_64_messages():
    """O4."""
    turns = []
    async with running(puppet("a", turns), puppet("b", turns)) as runtime:
        for _ in range(200):
            runtime.ref("/a").tell("a")
            runtime.ref("/b").tell("b")
        await settled(runtime, "/a")
        await settled(runtime, "/b")
    runs = "".join(turns).replace("ab", "a b").replace("ba", "b a").split()
    assert [len(run) for run in runs] == [64, 64, 64, 64, 64, 64, 8, 8]
