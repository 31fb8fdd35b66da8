"""Time: rules T1 to T3 of docs/semantics.md."""

import asyncio

from support.puppets import Puppet, puppet, running, settled, virtual

from forebay import ChildSpec, EnvironmentExit, Limits
from forebay.testing import crash, record, run_virtual


def ticking(times, *, every=None, after=None):
    def start(ctx):
        def tick(ctx):
            times.append((ctx.incarnation, ctx.now()))

        if every is not None:
            ctx.every("tick", every, tick)
        if after is not None:
            ctx.timer("tick", after, tick)

    return start


@virtual
async def test_a_timer_fires_once_after_its_delay():
    """T1, T2."""
    times = []
    async with running(puppet(start=ticking(times, after=3.0))):
        await asyncio.sleep(100.0)
    assert times == [(1, 3.0)]


@virtual
async def test_setting_a_name_again_replaces_the_timer():
    """T2."""
    seen = []

    def start(ctx):
        ctx.timer("t", 1.0, "first")
        ctx.timer("t", 5.0, "second")
        ctx.timer("other", 2.0, "other")

    async with running(puppet(seen=seen, start=start)):
        await asyncio.sleep(10.0)
    assert seen == ["other", "second"]


@virtual
async def test_a_timer_replaced_or_cancelled_while_its_message_is_on_the_way_does_not_arrive():
    """T2."""
    seen = []

    async def late(ctx):
        await asyncio.sleep(1.0)  # both have fired and wait in the system lane
        ctx.timer("replaced", 1.0, "new")
        ctx.cancel_timer("cancelled")
        ctx.cancel_timer("never set")

    def start(ctx):
        ctx.timer("replaced", 0.5, "old")
        ctx.timer("cancelled", 0.5, "old")

    async with running(puppet(seen=seen, start=start)) as runtime:
        runtime.ref("/a").tell(late)
        await asyncio.sleep(10.0)
    assert seen == ["new"]


@virtual
async def test_a_timer_set_again_for_the_same_time_while_its_message_is_on_the_way_arrives_once():
    """T2: the old message is not taken for the new one."""
    seen = []

    async def late(ctx):
        await asyncio.sleep(1.0)
        ctx.timer("t", 0.0, "message")

    async with running(puppet(seen=seen, start=lambda ctx: ctx.timer("t", 0.5, "message"))) as runtime:
        runtime.ref("/a").tell(late)
        await asyncio.sleep(10.0)
    assert seen == ["message"]


@virtual
async def test_a_repeating_timer_is_counted_from_the_end_of_its_last_handling():
    """T2: a slow handler is never overtaken by its own timer."""
    times = []

    def start(ctx):
        async def tick(ctx):
            times.append(ctx.now())
            await asyncio.sleep(3.0)

        ctx.every("tick", 2.0, tick)

    async with running(puppet(start=start)):
        await asyncio.sleep(16.0)
    assert times == [2.0, 7.0, 12.0]


@virtual
async def test_a_repeating_timer_can_be_changed_and_ended_in_its_own_handling():
    """T2."""
    times = []

    def start(ctx):
        def tick(ctx):
            times.append(ctx.now())
            if len(times) == 2:
                ctx.every("tick", 5.0, tick)
            if len(times) == 4:
                ctx.cancel_timer("tick")

        ctx.every("tick", 1.0, tick)

    async with running(puppet(start=start)):
        await asyncio.sleep(100.0)
    assert times == [1.0, 2.0, 7.0, 12.0]


@virtual
async def test_timers_end_with_the_incarnation():
    """T2: also one whose message was on the way; and one set in on_stop never fires."""
    seen = []

    def start(ctx):
        ctx.timer("soon", 1.0, f"of {ctx.incarnation}")

    async def busy(ctx):
        await asyncio.sleep(2.0)
        raise ValueError("with a timer's message waiting")

    async with running(puppet(seen=seen, start=start, stop=lambda ctx: ctx.timer("soon", 0.0, "posthumous"))) as runtime:
        runtime.ref("/a").tell(busy)
        await asyncio.sleep(10.0)
    assert seen == ["of 2"]


@virtual
async def test_a_timer_of_an_abandoned_incarnation_is_not_taken_for_one_of_the_next():
    """T2, S4: same name, same place in the count of timers."""
    seen = []
    go = asyncio.get_running_loop().create_future()

    class Deaf(Puppet):
        async def on_message(self, ctx, message):
            if ctx.incarnation == 1 and message == "hang":
                while not go.done():
                    try:
                        await asyncio.wait([go])
                    except asyncio.CancelledError:
                        continue
                ctx.timer("t", 0.0, "from the dead")
                return
            seen.append(message)

    async with running(ChildSpec("a", lambda: Deaf(seen, start=None), limits=Limits(shutdown=1.0))) as runtime:
        runtime.ref("/a").tell("hang")
        await asyncio.sleep(1.0)
        await runtime.supervisor().terminate_child("a")
        await runtime.supervisor().restart_child("a")
        runtime.ref("/a").place.process.context.timer("t", 50.0, "alive")
        go.set_result(None)
        await asyncio.sleep(10.0)
        assert seen == []
        await asyncio.sleep(100.0)
    assert seen == ["alive"]


@virtual
async def test_the_clock_of_a_context_is_the_loops():
    """T1: monotonic in seconds, wall in milliseconds, and both go on over a restart."""
    async with running(puppet()) as runtime:
        first = await runtime.ref("/a").ask(lambda ctx: ctx.reply((ctx.now(), ctx.wall())), 10.0)
        await asyncio.sleep(5.0)
        await crash(runtime, "/a")
        then = await runtime.ref("/a").ask(lambda ctx: ctx.reply((ctx.now(), ctx.wall())), 10.0)
    assert (then[0] - first[0], then[1] - first[1]) == (5.0, 5000)


def busy_tree(seed, explore=False):
    """Crashes, backoff, asks, timers and a full mailbox; returns the digest of all that happened."""

    async def main():
        def noise(ctx):
            ctx.note("drew", value=ctx.random.random())
            if ctx.random.random() < 0.2:
                raise EnvironmentExit("by chance")

        def start(ctx):
            ctx.every("noise", 0.7, noise)

        async with running(puppet("a", start=start), puppet("b", start=start), stable_after=0.1) as runtime:
            trace = record(runtime)
            for _ in range(20):
                await asyncio.sleep(1.0)
                await settled(runtime, "/b")
        return trace.digest

    return run_virtual(main, seed=seed, explore=explore)


def test_the_same_seed_gives_the_same_trace():
    """T1; another seed another one, also when the seed decides the order of what is ready together."""
    assert busy_tree(1) == busy_tree(1)
    assert busy_tree(1) != busy_tree(2)
    assert busy_tree(1, explore=True) == busy_tree(1, explore=True)


def test_a_draw_in_one_actor_shifts_nobody_elses():
    """T3: nor does a crash; the stream of a path goes on in the next incarnation."""

    def draws(others):
        @virtual
        async def main():
            async with running(puppet("a"), puppet("b")) as runtime:
                found = []
                for number in range(6):
                    if number == 3:
                        await crash(runtime, "/a")
                    for _ in range(others):
                        runtime.ref("/b").tell(lambda ctx: ctx.random.random())
                    await settled(runtime, "/b")
                    found.append(await runtime.ref("/a").ask(lambda ctx: ctx.reply(ctx.random.random()), 10.0))
                return found

        return main()

    alone = draws(0)
    assert draws(3) == alone
    assert len(set(alone)) == 6
