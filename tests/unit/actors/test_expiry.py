"""The time-outs of asks, which share one timer: each is as exact as if it had its own (D5, S7)."""

import asyncio
import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.puppets import puppet, running, virtual

from forebay import ActorStopped, AskTimeout
from forebay.actors.expiry import SLACK
from forebay.testing import run_virtual

SECONDS = st.integers(0, 40).map(lambda tenths: tenths / 10)
ASKS = st.lists(st.tuples(SECONDS, SECONDS, st.none() | SECONDS), min_size=1, max_size=20)


async def outcome(ref, begin, timeout, reply_in):
    """Ask at `begin`; return when the answer came, and whether it was one."""
    loop = asyncio.get_running_loop()

    def answer(ctx):
        caller = ctx.caller()
        if reply_in is not None:
            loop.call_later(reply_in, caller.reply, None)

    await asyncio.sleep(begin)
    try:
        await ref.ask(answer, timeout)
    except AskTimeout:
        return loop.time(), False
    return loop.time(), True


async def outcomes(asks):
    async with running(puppet()) as runtime:
        began = asyncio.get_running_loop().time()
        found = await asyncio.gather(*(outcome(runtime.ref("/a"), *ask) for ask in asks))
        return [(when - began, answered) for when, answered in found]


@given(ASKS)
def test_every_ask_ends_with_its_reply_or_at_its_own_time_out(asks):
    """D5, for any mix of time-outs and replies; a reply at the very instant of the time-out may win or lose."""
    for (begin, timeout, reply_in), (when, answered) in zip(asks, run_virtual(outcomes, asks), strict=True):
        if reply_in is None or reply_in > timeout:
            assert not answered
        elif reply_in < timeout:
            assert answered
        assert when == pytest.approx(begin + (reply_in if answered else timeout))


class Message:
    """Something a weak reference can point to."""

    def __call__(self, ctx):
        ctx.reply(None)


@virtual
async def test_nothing_is_kept_of_an_ask_that_was_answered():
    """A long time-out is no reason to keep a message, nor to let the heap of deadlines grow."""
    async with running(puppet()) as runtime:
        ref = runtime.ref("/a")
        messages = [Message() for _ in range(10 * SLACK)]
        kept = [weakref.ref(message) for message in messages]
        while messages:
            await ref.ask(messages.pop(), 1e6)
        await ref.ask(Message(), 1e6)  # the actor holds on to the last it handled until the next
        gc.collect()
        assert [held for held in kept if held() is not None] == []
        assert len(runtime.system.expiry._heap) <= SLACK


@virtual
async def test_a_stop_ends_the_wait_for_an_actor_that_forgot_to_reply():
    async with running(puppet()) as runtime:
        asking = asyncio.create_task(runtime.ref("/a").ask(lambda _: None, 1e6))
        await asyncio.sleep(1.0)
        report = await runtime.stop()
        with pytest.raises(ActorStopped, match="did not reply"):
            await asking
    assert report.seconds < 1.0


@virtual
async def test_no_timer_is_left_of_asks_when_the_runtime_has_stopped():
    """S7."""
    loop = asyncio.get_running_loop()
    async with running(puppet()) as runtime:
        await runtime.ref("/a").ask(lambda ctx: ctx.reply(None), 1e6)
        assert [timer for timer in loop.timers() if timer.when() > 1e5]
    assert loop.timers() == []
