"""forebay.testing: what users test their own actors with (docs/testing.md)."""

import asyncio
import time

import pytest

from forebay import (
    Actor,
    ActorStopped,
    AskTimeout,
    ChildSpec,
    ChildStartFailed,
    Down,
    Exited,
    Failed,
    MailboxSpec,
    Overflow,
    Restart,
    Shutdown,
    Started,
    SupervisorSpec,
    describe,
    testing,
)
from forebay.testing import ActorHarness, NoSuchEvent, OutOfTime, crash, record, run_virtual, until_event, virtual_runtime


class Meter(Actor):
    """Counts, reports every five seconds, asks its peer in a task, watches its peer."""

    def __init__(self) -> None:
        self.count = 0

    async def on_start(self, ctx):
        ctx.every("report", 5.0, "report")

    async def on_message(self, ctx, message):
        match message:
            case "add":
                self.count += 1
                ctx.note("added", count=self.count)
            case "get":
                ctx.reply(self.count)
            case "report":
                ctx.lookup("/w/log").tell(("count", self.count))
            case "fetch":
                ctx.run("fetch", self.fetch(ctx))
            case "watch":
                ctx.monitor(ctx.lookup("/w/log"))
            case "boom":
                raise ValueError("boom")
            case Down():
                ctx.note("down", how=describe(message.exit))

    async def fetch(self, ctx):
        self.count = await ctx.lookup("/w/log").ask("how many?", 3.0)


@pytest.fixture
def harness():
    with ActorHarness(Meter, path="/w/meter", peers=["/w/log"]) as running:
        yield running


def test_every_exported_name_is_there():
    assert [name for name in testing.__all__ if not hasattr(testing, name)] == []
    assert testing.__all__ == sorted(testing.__all__)


class TestHarness:
    def test_a_message_is_handled_before_tell_returns(self, harness):
        harness.tell("add")
        assert harness.actor.count == 1
        assert harness.ask("get") == 1

    def test_what_the_actor_tells_its_peers_is_kept(self, harness):
        harness.tell("report")
        assert harness.peer("/w/log").take() == [("count", 0)]
        assert harness.peer("/w/log").take() == []

    def test_timers_are_seen_and_advanced_by_hand(self, harness):
        harness.advance(2.0)
        assert harness.timers == {"report": 3.0}
        harness.advance(8.0)
        assert harness.peer("/w/log").take() == [("count", 0), ("count", 0)]
        assert harness.now == 10.0

    def test_notes_are_kept_in_order(self, harness):
        harness.tell("add")
        harness.tell("add")
        assert harness.notes == [("added", {"count": 1}), ("added", {"count": 2})]

    def test_a_peer_answers_when_the_test_says_so(self, harness):
        harness.tell("fetch")
        assert (harness.tasks, harness.peer("/w/log").received) == (["fetch"], ["how many?"])
        harness.peer("/w/log").reply(7)
        assert (harness.tasks, harness.actor.count) == ([], 7)

    def test_a_peer_may_answer_with_an_error(self, harness):
        harness.tell("fetch")
        harness.peer("/w/log").fail(KeyError("none"))
        assert isinstance(harness.exit, Failed)
        assert isinstance(harness.exit.error, KeyError)

    def test_a_peer_that_does_not_answer_costs_no_real_time(self, harness):
        harness.tell("fetch")
        harness.advance(3.0)
        assert isinstance(harness.exit, Failed)
        assert isinstance(harness.exit.error, AskTimeout)

    def test_there_is_nothing_to_answer_when_nobody_asked(self, harness):
        with pytest.raises(LookupError, match="/w/log holds no ask"):
            harness.peer("/w/log").reply(1)

    def test_a_peer_that_was_not_named_is_refused_with_advice(self, harness):
        with pytest.raises(LookupError, match="name it in peers"):
            harness.peer("/w/other")

    def test_a_monitor_hears_of_a_crashed_peer_each_time(self, harness):
        for _ in range(5):
            harness.tell("watch")
            harness.peer("/w/log").crash(RuntimeError("gone"))
        assert harness.notes == [("down", {"how": "failed: RuntimeError: gone"})] * 5

    def test_a_failure_is_a_value_and_the_next_incarnation_is_fresh(self, harness):
        harness.tell("add")
        harness.tell("boom")
        assert describe(harness.exit) == "failed: ValueError: boom"
        harness.restart()
        assert (harness.exit, harness.ask("get"), harness.events[-1].incarnation) == (None, 0, 2)

    def test_an_orderly_stop_gives_the_exit(self, harness):
        assert isinstance(harness.stop(), Shutdown)
        assert isinstance(harness.stop(), Shutdown)
        with pytest.raises(LookupError):
            harness.tell("add")

    def test_an_injected_crash_ends_the_actor(self, harness):
        harness.crash(OSError("disk"))
        assert describe(harness.exit) == "failed: OSError: disk"

    def test_a_failure_that_nobody_looked_at_is_raised_where_the_block_is_left(self):
        with pytest.raises(ValueError, match="boom"), ActorHarness(Meter) as harness:
            harness.tell("boom")

    def test_an_error_of_the_test_itself_is_not_replaced_by_the_actors(self):
        def wrong():
            with ActorHarness(Meter) as harness:
                harness.tell("boom")
                harness.peer("/nobody")

        with pytest.raises(LookupError, match="name it"):
            wrong()

    def test_a_failed_start_is_raised_with_its_cause(self):
        class Bad(Actor):
            async def on_start(self, ctx):
                raise OSError("no disk")

        with pytest.raises(ChildStartFailed, match="no disk") as caught, ActorHarness(Bad):
            pytest.fail("it started")
        assert isinstance(caught.value.__cause__, OSError)

    def test_a_mailbox_can_be_given(self):
        class Busy(Actor):
            async def on_message(self, ctx, message):
                await asyncio.sleep(10)

        spec = MailboxSpec(capacity=1, overflow=Overflow.DROP_OLDEST)
        with ActorHarness(Busy, mailbox=spec) as harness:
            for number in range(4):
                harness.tell(number)
            assert [event.message for event in harness.events if type(event).__name__ == "Dropped"] == ["int", "int"]

    def test_draws_depend_on_the_seed_and_the_path_alone(self):
        class Dice(Actor):
            async def on_message(self, ctx, message):
                ctx.reply([ctx.random.randrange(6) for _ in range(20)])

        def rolls(**options):
            with ActorHarness(Dice, **options) as harness:
                return harness.ask("roll")

        assert rolls(seed=1) == rolls(seed=1, peers=["/other"])
        assert rolls(seed=1) != rolls(seed=2)
        assert rolls(seed=1) != rolls(seed=1, path="/elsewhere")

    async def test_it_works_the_same_beside_a_running_loop(self):
        with ActorHarness(Meter, peers=["/w/log"]) as harness:
            harness.tell("add")
            harness.advance(5.0)
            assert harness.peer("/w/log").take() == [("count", 1)]
            assert harness.ask("get") == 1


class Idle(Actor):
    pass


def tree(**options):
    return SupervisorSpec(children=[ChildSpec("meter", Idle, **options), ChildSpec("other", Idle)])


class TestVirtualTree:
    def test_an_hour_passes_at_once(self):
        async def main():
            async with virtual_runtime(tree()) as runtime:
                await asyncio.sleep(3600.0)
                return runtime.tree().find("/other").state.value

        began = time.perf_counter()
        run_virtual(main)
        assert time.perf_counter() - began < 5

    def test_a_crash_ends_the_actor_and_its_supervisor_starts_it_again(self):
        async def main():
            async with virtual_runtime(tree()) as runtime:
                exit_ = await crash(runtime, "/meter", OSError("disk"))
                again = await until_event(runtime, lambda event: isinstance(event, Started))
                return describe(exit_), again.path, again.incarnation

        assert run_virtual(main) == ("failed: OSError: disk", "/meter", 2)

    def test_an_event_that_does_not_come_is_told_with_what_came(self):
        async def main():
            async with virtual_runtime(tree(restart=Restart.TEMPORARY)) as runtime:
                runtime.inject("/meter", OSError("disk"))
                await until_event(runtime, lambda event: isinstance(event, Started), timeout=60.0)

        with pytest.raises(NoSuchEvent, match=r"within 60\.0 s(.|\n)*Exited /meter#1 failed: OSError: disk"):
            run_virtual(main)

    def test_the_same_seed_gives_the_same_digest_and_another_seed_another(self):
        def digest(seed):
            async def main():
                async with virtual_runtime(tree()) as runtime:
                    trace = record(runtime)
                    for _ in range(3):
                        await crash(runtime, "/meter")
                        await until_event(runtime, lambda event: isinstance(event, Started))
                return trace.digest

            return run_virtual(main, seed=seed)

        assert digest(1) == digest(1)
        assert digest(1) != digest(2)

    def test_a_run_that_hangs_is_ended_at_the_horizon_and_names_the_task(self):
        async def main():
            async with virtual_runtime(tree()):
                await asyncio.get_running_loop().create_future()

        with pytest.raises(OutOfTime, match=r"main \(test_testing"):
            run_virtual(main, horizon=100.0)

    async def test_a_virtual_runtime_needs_a_virtual_loop(self):
        with pytest.raises(TypeError, match="not virtual"):
            virtual_runtime(tree())

    def test_an_address_in_an_error_does_not_get_into_the_trace(self):
        async def main():
            async with virtual_runtime(tree(restart=Restart.TEMPORARY)) as runtime:
                trace = record(runtime)
                await crash(runtime, "/meter", OSError(f"bad {object()}"))
                return [entry.detail for entry in trace if entry.event == Exited.__name__]

        assert run_virtual(main) == ["failed: OSError: bad <object object at ...>"]

    def test_a_ref_refuses_messages_when_the_tree_has_stopped(self):
        async def main():
            async with virtual_runtime(tree()) as runtime:
                ref = runtime.ref("/meter")
            ref.tell("add")

        with pytest.raises(ActorStopped):
            run_virtual(main)
