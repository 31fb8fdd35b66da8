"""Asks: rules D5 and D6 of docs/semantics.md."""

import asyncio

import pytest
from support.lanes import fill, nap
from support.puppets import boom, puppet, running, settled, virtual

from forebay import (
    ActorDied,
    ActorStopped,
    AskCycle,
    AskTimeout,
    ChildSpec,
    Failed,
    MailboxSpec,
    Restart,
    SupervisorSpec,
)

# ---------------------------------------------------------------------------------------------- D5


@virtual
async def test_an_ask_times_out_when_no_reply_came_and_a_later_reply_vanishes():
    """D5."""

    async def late(ctx):
        await asyncio.sleep(2.0)
        ctx.reply("late")

    async with running(puppet()) as runtime:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(AskTimeout, match=r"/a did not reply within 1.5 s"):
            await runtime.ref("/a").ask(late, 1.5)
        assert loop.time() - began == 1.5
        await asyncio.sleep(2.0)
        assert runtime.ref("/a").alive


@virtual
async def test_an_ask_that_finds_no_room_times_out_too_and_leaves_nothing_behind():
    """D5: one time-out for room and reply; no message, no unread error."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    seen = []
    async with running(puppet(seen=seen, mailbox=MailboxSpec(capacity=1))) as runtime:
        ref = runtime.ref("/a")
        await fill(ref, [0])
        with pytest.raises(AskTimeout):
            await ref.ask("never", 0.25)
        await settled(runtime)
    assert (seen, complaints) == ([0], [])


@virtual
async def test_an_ask_fails_as_soon_as_the_incarnation_that_has_it_in_hand_ends():
    """D5: in its handler, and after it was set aside with caller()."""

    async def adopt(ctx):
        ctx.caller()

    async with running(puppet()) as runtime:
        loop = asyncio.get_running_loop()
        ref = runtime.ref("/a")
        aside = loop.create_task(ref.ask(adopt, 60.0))
        await asyncio.sleep(1.0)
        in_hand = loop.create_task(ref.ask(boom, 60.0))
        began = loop.time()
        died = await asyncio.gather(aside, in_hand, return_exceptions=True)
        assert loop.time() == began
    assert [type(error) for error in died] == [ActorDied, ActorDied]
    assert all(isinstance(error.exit, Failed) for error in died)


@virtual
async def test_asks_set_aside_fail_in_the_order_in_which_they_came():
    """D5, T1: their order decides who runs next."""
    order = []

    async def ask(ref, number):
        with pytest.raises(ActorDied):
            await ref.ask(lambda ctx: ctx.caller() and None, 60.0)
        order.append(number)

    async with running(puppet()) as runtime:
        tasks = [asyncio.get_running_loop().create_task(ask(runtime.ref("/a"), number)) for number in range(50)]
        await asyncio.sleep(1.0)
        runtime.inject("/a", OSError())
        await asyncio.gather(*tasks)
    assert order == list(range(50))


@virtual
async def test_an_ask_still_queued_when_its_target_restarts_is_answered_by_the_next_incarnation():
    """D5."""
    async with running(puppet()) as runtime:
        runtime.ref("/a").tell(boom)
        assert await runtime.ref("/a").ask(lambda ctx: ctx.reply(ctx.incarnation), 10.0) == 2


@virtual
async def test_a_queued_ask_fails_when_its_target_ends_for_good():
    """D5."""
    async with running(puppet(restart=Restart.TEMPORARY)) as runtime:
        ref = runtime.ref("/a")
        ref.tell(lambda ctx: ctx.stop())
        with pytest.raises(ActorStopped):
            await ref.ask("never", 60.0)


@virtual
async def test_an_ask_whose_asker_has_gone_is_not_handled():
    """D5: neither after its time-out nor after a cancellation."""
    seen = []
    async with running(puppet(seen=seen)) as runtime:
        ref = runtime.ref("/a")
        ref.tell(nap)
        cancelled = asyncio.get_running_loop().create_task(ref.ask("cancelled", 60.0))
        with pytest.raises(AskTimeout):
            await ref.ask("timed out", 0.5)
        cancelled.cancel()
        await asyncio.sleep(2.0)
    assert seen == []


@virtual
async def test_a_reply_may_come_after_the_handler_from_a_later_message():
    """D5: caller() takes the ask out of the handler."""
    kept = []
    async with running(puppet()) as runtime:
        ref = runtime.ref("/a")
        ask = asyncio.get_running_loop().create_task(ref.ask(lambda ctx: kept.append(ctx.caller()), 60.0))
        await asyncio.sleep(1.0)
        ref.tell(lambda ctx: kept[0].reply("later"))
        assert await ask == "later"


@virtual
async def test_an_actor_may_answer_with_an_error_and_lives_on():
    """D5."""
    async with running(puppet()) as runtime:
        with pytest.raises(KeyError, match="none"):
            await runtime.ref("/a").ask(lambda ctx: ctx.fail(KeyError("none")), 10.0)
        assert runtime.ref("/a").place.incarnation == 1


@virtual
async def test_replies_to_a_tell_do_nothing():
    async with running(puppet()) as runtime:
        for message in (lambda ctx: ctx.reply(1), lambda ctx: ctx.fail(KeyError()), lambda ctx: ctx.caller() and boom(ctx)):
            runtime.ref("/a").tell(message)
        await settled(runtime)
        assert runtime.ref("/a").place.incarnation == 1


# ---------------------------------------------------------------------------------------------- D6


def asks(*path):
    """A message that asks the first of `path` to ask the next, and so on; the last is answered at once."""

    async def message(ctx):
        if path:
            try:
                await ctx.lookup(path[0]).ask(asks(*path[1:]), 60.0)
            except AskCycle as cycle:
                ctx.reply(cycle.path)
                return
        ctx.reply("no circle")

    return message


@pytest.mark.parametrize("circle", [["/a"], ["/b", "/a"], ["/b", "/c", "/a"]])
def test_an_ask_that_closes_a_circle_raises_at_once_and_names_it(circle):
    """D6: also where an actor asks itself."""
    raised = []

    def closes(path):
        async def message(ctx):
            if not path:
                return
            try:
                await ctx.lookup(path[0]).ask(closes(path[1:]), 60.0)
            except AskCycle as cycle:
                raised.append((ctx.path, cycle.path, asyncio.get_running_loop().time()))
            ctx.reply(None)

        return message

    @virtual
    async def main():
        async with running(puppet("a"), puppet("b"), puppet("c")) as runtime:
            await runtime.ref("/a").ask(closes(circle), 60.0)

    main()
    closer = (["/a", *circle])[-2]
    assert raised == [(closer, (closer, *circle[-1:], *circle[:-1]), 0.0)]


@virtual
async def test_asks_that_close_no_circle_go_through():
    """D6: the same actor may be asked again by another, and by itself from a task."""
    answers = []

    async def from_a_task(ctx):
        async def work():
            answers.append(await ctx.ref.ask(lambda ctx: ctx.reply("own"), 60.0))

        ctx.run("own", work())

    async with running(puppet("a"), puppet("b"), puppet("c")) as runtime:
        assert await runtime.ref("/a").ask(asks("/b", "/c"), 60.0) == "no circle"
        assert await runtime.ref("/a").ask(asks("/b", "/c"), 60.0) == "no circle"
        runtime.ref("/a").tell(from_a_task)
        await asyncio.sleep(1.0)
    assert answers == ["own"]


@virtual
async def test_a_circle_is_found_through_a_ref_from_before_its_actors_supervisor_restarted():
    """D6, D8."""
    below = SupervisorSpec(children=[puppet("b")])
    async with running(puppet("a"), ChildSpec("s", below)) as runtime:
        old = runtime.ref("/s/b")
        await runtime.supervisor().terminate_child("s")
        await runtime.supervisor().restart_child("s")

        async def back(ctx):
            with pytest.raises(AskCycle):
                await runtime.ref("/a").ask(asks(), 60.0)
            ctx.reply("found")

        async def forth(ctx):
            ctx.reply(await old.ask(back, 60.0))

        assert await runtime.ref("/a").ask(forth, 60.0) == "found"
