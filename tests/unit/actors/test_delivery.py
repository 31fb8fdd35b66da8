"""Delivery: rules D1 to D4 and D8 of docs/semantics.md."""

import asyncio

import pytest
from support.lanes import FULL, bounded, fill, nap
from support.puppets import Puppet, boom, puppet, recorded, running, settled, virtual

from forebay import (
    ActorStopped,
    ChildSpec,
    DeadLetter,
    Dropped,
    Exited,
    Limits,
    MailboxFull,
    MailboxSpec,
    Overflow,
    Restart,
    Started,
    SupervisorSpec,
)
from forebay.testing import crash, until_event

# ---------------------------------------------------------------------------------------------- D1


@virtual
async def test_every_accepted_message_is_handled_or_dropped_or_a_dead_letter():
    """D1, counted over a crash, an overflow and a stop."""
    seen = []
    spec = MailboxSpec(capacity=FULL, overflow=Overflow.DROP_OLDEST)
    async with running(puppet(seen=seen, mailbox=spec)) as runtime:
        dropped, dead = recorded(runtime, Dropped), recorded(runtime, DeadLetter)
        ref = runtime.ref("/a")
        await fill(ref, [1, 2, boom, 3, 4])
        await until_event(runtime, lambda event: isinstance(event, Started))
        await settled(runtime)
        await fill(ref, [5, 6])
        place = ref.place
    assert seen == [3, 4]
    assert [event.message for event in dropped] == ["int", "int"]
    assert [letter.message for letter in dead] == ["function", "int"]
    assert (place.mailbox.dropped, place.dead_letters) == (2, 3)


@virtual
async def test_a_flood_of_dead_letters_is_counted_and_reported_by_powers_of_two():
    """D1."""
    async with running(puppet(restart=Restart.TEMPORARY)) as runtime:
        letters = recorded(runtime, DeadLetter)
        runtime.ref("/a").tell(nap)
        for number in range(100):
            runtime.ref("/a").tell(number)
        await asyncio.sleep(0.5)
    assert [letter.count for letter in letters] == [1, 2, 4, 8, 16, 32, 64]


# ---------------------------------------------------------------------------------------------- D2


@virtual
async def test_a_lane_is_bounded_by_default():
    """D2."""
    async with running(puppet()) as runtime:
        for number in range(1024):
            runtime.ref("/a").tell(number)
        with pytest.raises(MailboxFull) as full:
            runtime.ref("/a").tell("one too many")
        assert (full.value.message, full.value.path) == ("one too many", "/a")


@virtual
async def test_block_makes_tell_raise_and_send_wait_first_come_first_served():
    """D2: also when others send at the moment a place becomes free."""
    seen = []
    async with running(puppet(seen=seen, mailbox=MailboxSpec(capacity=FULL))) as runtime:
        ref = runtime.ref("/a")
        await fill(ref)
        with pytest.raises(MailboxFull):
            ref.tell("refused")
        for number in range(10):
            asyncio.get_running_loop().create_task(ref.send(("waited", number)))
            await asyncio.sleep(0)
        ref_is_full = runtime.tree().find("/a").mailbox.depth
        await asyncio.sleep(0.5)  # the nap ends now
        for number in range(10):
            await ref.send(("came later", number))
        await settled(runtime)
    assert ref_is_full == FULL
    assert seen == [0, 1, 2, *(("waited", n) for n in range(10)), *(("came later", n) for n in range(10))]


@virtual
async def test_a_sender_that_stops_waiting_leaves_its_place_to_the_next():
    """D2: nobody who still waits is left behind, and nothing of the one who left is delivered."""
    seen = []
    async with running(puppet(seen=seen, mailbox=MailboxSpec(capacity=1))) as runtime:
        ref = runtime.ref("/a")
        await fill(ref, [0])
        loop = asyncio.get_running_loop()
        senders = [loop.create_task(ref.send(number)) for number in range(1, 6)]
        await asyncio.sleep(0)
        senders[0].cancel()
        senders[3].cancel()
        await asyncio.wait(senders)
        await settled(runtime)
    assert seen == [0, 2, 3, 5]


@virtual
async def test_reject_makes_tell_and_send_raise_with_the_message():
    """D2."""
    async with running(bounded(Overflow.REJECT)) as runtime:
        ref = runtime.ref("/a")
        await fill(ref)
        with pytest.raises(MailboxFull) as told:
            ref.tell("told")
        with pytest.raises(MailboxFull) as sent:
            await ref.send("sent")
        with pytest.raises(MailboxFull) as asked:
            await ref.ask("asked", 10.0)
    assert [full.value.message for full in (told, sent, asked)] == ["told", "sent", "asked"]


@pytest.mark.parametrize(("overflow", "kept"), [(Overflow.DROP_OLDEST, [2, 3, 4]), (Overflow.DROP_NEWEST, [0, 1, 2])])
def test_a_dropping_lane_drops_one_and_says_so(overflow, kept):
    """D2."""

    @virtual
    async def main():
        seen = []
        spec = MailboxSpec(capacity=FULL, overflow=overflow)
        async with running(puppet(seen=seen, mailbox=spec)) as runtime:
            events = recorded(runtime, Dropped)
            ref = runtime.ref("/a")
            await fill(ref)
            ref.tell(3)
            await ref.send(4)
            await asyncio.sleep(5.0)
        return seen, [(event.message, event.why) for event in events]

    assert main() == (kept, [("int", overflow.value)] * 2)


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
def test_an_ask_that_is_dropped_fails_at_once(overflow):
    """D2, D5."""

    @virtual
    async def main():
        async with running(bounded(overflow)) as runtime:
            ref = runtime.ref("/a")
            ref.tell(nap)
            await asyncio.sleep(0.5)
            loop = asyncio.get_running_loop()
            asks = [loop.create_task(ref.ask(lambda ctx: ctx.reply("done"), 60.0)) for _ in range(FULL + 1)]
            began = loop.time()
            await asyncio.wait(asks, return_when=asyncio.FIRST_EXCEPTION)
            assert loop.time() == began
            return [type(one).__name__ for one in await asyncio.gather(*asks, return_exceptions=True)]

    lost = 0 if overflow is Overflow.DROP_OLDEST else FULL
    assert [index for index, name in enumerate(main()) if name == ActorStopped.__name__] == [lost]


@virtual
async def test_a_coalescing_lane_keeps_the_newest_of_each_key_in_the_place_of_the_first():
    """D2: at any depth, and for an ask by the key of its message; without a twin it is as under block."""
    seen = []
    spec = MailboxSpec(capacity=FULL, overflow=Overflow.COALESCE, key=lambda message: message[0])

    class Slow(Puppet):
        async def on_message(self, ctx, message):
            seen.append(message)
            await asyncio.sleep(1.0)
            ctx.reply(message)

    async with running(ChildSpec("a", lambda: Slow(seen), mailbox=spec)) as runtime:
        ref = runtime.ref("/a")
        ref.tell(("x", 0))
        await asyncio.sleep(0.5)
        for message in (("x", 1), ("y", 1), ("x", 2), ("z", 1)):
            ref.tell(message)
        with pytest.raises(MailboxFull):
            ref.tell(("w", 1))
        assert await ref.ask(("y", 2), 60.0) == ("y", 2)
        await asyncio.sleep(5.0)
    assert seen == [("x", 0), ("x", 2), ("y", 2), ("z", 1)]


def test_a_mailbox_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="at least one message"):
        MailboxSpec(capacity=0)
    with pytest.raises(ValueError, match="needs a key function"):
        MailboxSpec(overflow=Overflow.COALESCE)
    with pytest.raises(ValueError, match="needs a key function"):
        MailboxSpec(key=len)


# ---------------------------------------------------------------------------------------------- D3


@virtual
async def test_an_actor_that_has_ended_for_good_refuses_messages_with_the_message():
    """D3."""
    async with running(puppet(restart=Restart.TEMPORARY)) as runtime:
        ref = runtime.ref("/a")
        await ref.send(lambda ctx: ctx.stop())
        await asyncio.sleep(1.0)
        with pytest.raises(ActorStopped) as told:
            ref.tell("told")
        with pytest.raises(ActorStopped) as sent:
            await ref.send("sent")
        with pytest.raises(ActorStopped):
            await ref.ask("asked", 10.0)
        assert not ref.alive
    assert (told.value.message, sent.value.message) == ("told", "sent")


@virtual
async def test_one_who_waits_for_room_is_refused_when_the_actor_ends_for_good():
    """D3."""
    async with running(puppet(restart=Restart.TEMPORARY, mailbox=MailboxSpec(capacity=1))) as runtime:
        ref = runtime.ref("/a")
        await fill(ref, [0])
        waiting = asyncio.get_running_loop().create_task(ref.send("late"))
        await asyncio.sleep(0)
        await runtime.supervisor().terminate_child("a")
        with pytest.raises(ActorStopped) as refused:
            await waiting
    assert refused.value.message == "late"


@pytest.mark.parametrize(("keep", "found"), [(True, ["before", "between"]), (False, ["after"])])
def test_messages_outlive_a_restart_if_the_mailbox_keeps_them(keep, found):
    """D3: what was queued before the end, and what came between two incarnations."""

    @virtual
    async def main():
        seen = []
        async with running(puppet(seen=seen, mailbox=MailboxSpec(keep=keep))) as runtime:
            ref = runtime.ref("/a")
            runtime.events.listen(lambda event: ref.tell("between") if isinstance(event, Exited) else None)
            ref.tell(boom)
            ref.tell("before")
            await until_event(runtime, lambda event: isinstance(event, Started))
            await settled(runtime)
            if not keep:
                ref.tell("after")
                await settled(runtime)
            return list(seen)

    assert main() == found


@pytest.mark.parametrize(
    ("keep", "first", "letters"),
    [(True, nap, ["str", "str"]), (False, nap, []), (False, boom, ["function", "str"])],
    ids=["kept", "void", "not void after a failure"],
)
def test_what_an_orderly_stop_leaves_in_a_mailbox_that_keeps_nothing_is_void(keep, first, letters):
    """D3."""

    @virtual
    async def main():
        async with running(puppet(mailbox=MailboxSpec(keep=keep), restart=Restart.TEMPORARY)) as runtime:
            dead = recorded(runtime, DeadLetter)
            runtime.ref("/a").tell(first)
            runtime.ref("/a").tell("left")
            if first is nap:
                await asyncio.sleep(0)
                runtime.ref("/a").tell("left")
            else:
                await until_event(runtime, lambda event: isinstance(event, Exited))
        return [letter.message for letter in dead]

    assert main() == letters


@virtual
async def test_an_ask_that_is_left_in_a_mailbox_that_keeps_nothing_fails():
    """D5."""
    async with running(puppet(mailbox=MailboxSpec(keep=False))) as runtime:
        runtime.ref("/a").tell(nap)
        asking = asyncio.create_task(runtime.ref("/a").ask("left", 500.0))
        await asyncio.sleep(0)
    with pytest.raises(ActorStopped):
        await asking


@virtual
async def test_a_drained_actor_takes_messages_again_in_its_next_incarnation():
    """D3, S3: draining refuses messages only until the end."""
    seen = []
    async with running(puppet(seen=seen, limits=Limits(drain=True))) as runtime:
        ref = runtime.ref("/a")
        ref.tell(nap)
        ref.tell("queued")
        await runtime.supervisor().terminate_child("a")
        ref.tell("between")
        await runtime.supervisor().restart_child("a")
        ref.tell("next")
        await settled(runtime)
    assert seen == ["queued", "between", "next"]


# ---------------------------------------------------------------------------------------------- D4


@virtual
async def test_the_message_that_failed_an_actor_is_not_delivered_again():
    """D4: it is a dead letter; those behind it are handled by the next incarnation."""
    seen = []
    async with running(puppet(seen=seen)) as runtime:
        letters = recorded(runtime, DeadLetter)
        for message in (1, boom, 2):
            runtime.ref("/a").tell(message)
        await until_event(runtime, lambda event: isinstance(event, Started))
        await settled(runtime)
    assert seen == [1, 2]
    assert [(letter.message, letter.incarnation) for letter in letters] == [("function", 1)]


@virtual
async def test_a_message_that_was_handled_is_no_dead_letter_when_a_failure_follows():
    """D4: an injected failure, or a failed task, is nobody's message."""
    async with running(puppet()) as runtime:
        letters = recorded(runtime, DeadLetter)
        runtime.ref("/a").tell(lambda ctx: runtime.inject("/a", OSError("disk")))
        runtime.ref("/a").tell("behind")
        await until_event(runtime, lambda event: isinstance(event, Started))
    assert [letter.message for letter in letters] == []


# ---------------------------------------------------------------------------------------------- D8


@virtual
async def test_a_ref_is_good_across_restarts_of_its_actor_and_of_the_supervisors_above():
    """D8."""
    seen = []
    inner = SupervisorSpec(children=[puppet("a", seen)])
    async with running(ChildSpec("outer", SupervisorSpec(children=[ChildSpec("inner", inner)]))) as runtime:
        ref = runtime.ref("/outer/inner/a")
        await crash(runtime, "/outer/inner/a")
        await until_event(runtime, lambda event: isinstance(event, Started))
        ref.tell("after its own")
        for supervisor, child in (("/outer", "inner"), ("/", "outer")):
            await runtime.supervisor(supervisor).terminate_child(child)
            assert not ref.alive
            with pytest.raises(ActorStopped):
                ref.tell("while there is no supervisor")
            await runtime.supervisor(supervisor).restart_child(child)
            assert ref.alive
            ref.tell(f"after {child}'s")
        assert await ref.ask(lambda ctx: ctx.reply(ctx.incarnation), 10.0) == 4
        assert ref == runtime.ref("/outer/inner/a")
    assert seen == ["after its own", "after inner's", "after outer's"]
