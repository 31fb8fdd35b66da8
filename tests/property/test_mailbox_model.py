"""The mailbox against a plain list: bounds, overflow policies, waiting for room (D1, D2, D3; O2).

A step is a burst: several things happen to the mailbox in one turn of the loop, and only then do those who wait for room
get to run. That is the window in which a place could be lost, given twice, or taken by somebody who came later.
"""

import asyncio
from collections import deque

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.effort import examples

from forebay import ActorStopped, MailboxFull, MailboxSpec, Overflow
from forebay.actors.mailbox import Mailbox
from forebay.scenarios.loop import open_loop

PATIENCE = 5.0
OUTCOMES = {type(None): "done", MailboxFull: "full", ActorStopped: "stopped"}
ACT = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 3)),
    st.tuples(st.just("take"), st.just(0)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.sampled_from(["clear", "clear", "clear", "close"]), st.just(0)),
)


def outcome_of(task):
    return "cancelled" if task.cancelled() else OUTCOMES[type(task.exception())]


class Model:
    """What a mailbox does, by lists. Messages are (key, serial); a sender is known by its message."""

    def __init__(self, capacity, overflow):
        self.capacity, self.overflow = capacity, overflow
        self.queue, self.dropped, self.closed = [], [], False
        self.line = {}  # sender -> deadline, in the order in which they came
        self.turns = deque()  # senders whose place is reserved and who have not run yet
        self.outcomes = {}

    def free(self):
        return self.capacity - len(self.queue) - len(self.turns)

    def put(self, message):
        """Returns the outcome."""
        if self.closed:
            return "stopped"
        twin = [i for i, queued in enumerate(self.queue) if queued[0] == message[0]]
        if self.overflow is Overflow.COALESCE and twin:
            self.dropped.append(self.queue[twin[0]])
            self.queue[twin[0]] = message
        elif self.free() > 0:
            self.queue.append(message)
        elif self.overflow is Overflow.DROP_OLDEST:
            self.dropped.append(self.queue.pop(0))
            self.queue.append(message)
        elif self.overflow is Overflow.DROP_NEWEST:
            self.dropped.append(message)
        else:
            return "full"
        return "done"

    def send(self, message, deadline):
        waits = self.overflow in (Overflow.BLOCK, Overflow.COALESCE)
        outcome = self.put(message)
        if outcome == "full" and waits:
            self.line[message] = deadline
        else:
            self.outcomes[message] = outcome

    def take(self):
        message = self.queue.pop(0) if self.queue else None
        self.give_turns()
        return message

    def clear(self):
        messages, self.queue = self.queue, []
        self.give_turns()
        return messages

    def close(self):
        self.closed = True
        self.give_turns()

    def cancel(self, message):
        if message in self.turns:
            self.outcomes[message] = "cancelled"  # its place is passed on when it runs
        elif self.line.pop(message, self) is not self:
            self.outcomes[message] = "cancelled"

    def give_turns(self):
        while self.line and (self.free() > 0 or self.closed):
            message = next(iter(self.line))
            del self.line[message]
            self.turns.append(message)

    def settle(self, arriving):
        """Those whose turn has come run, then those who have just arrived, then those who got a turn meanwhile."""
        self.run_turns()
        for message, deadline in arriving:
            self.send(message, deadline)
        while self.turns:
            self.run_turns()

    def run_turns(self):
        for message in list(self.turns):
            self.turns.remove(message)
            if self.outcomes.get(message) != "cancelled":
                self.outcomes[message] = self.put(message)
            self.give_turns()

    def expire(self, now):
        for message in [m for m, deadline in self.line.items() if deadline is not None and deadline <= now]:
            del self.line[message]
            self.outcomes[message] = "full"


class MailboxMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.manager = open_loop()
        self.loop = self.manager.__enter__()
        self.serial = 0
        self.sends = {}
        self.arrived = []
        self.dropped = []

    @initialize(capacity=st.integers(1, 4), overflow=st.sampled_from([Overflow.BLOCK, Overflow.BLOCK, *Overflow]))
    def begin(self, capacity, overflow):
        key = (lambda message: message[0]) if overflow is Overflow.COALESCE else None
        spec = MailboxSpec(capacity=capacity, overflow=overflow, key=key)
        self.mailbox = Mailbox("/a", spec, lambda message, why: self.dropped.append(message))
        self.model = Model(capacity, overflow)

    def teardown(self):
        """In the end the actor ends for good: whoever still waits is told."""
        try:
            if hasattr(self, "mailbox"):
                self.perform([("close", 0)], [])
                self.same_outcomes_and_nobody_left_behind()
                assert all(task.done() for task in self.sends.values())
        finally:
            self.manager.__exit__(None, None, None)

    @rule(
        acts=st.lists(ACT, max_size=6),
        sends=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=4),
    )
    def burst(self, acts, sends):
        """Acts on the mailbox, and then senders that arrive, before anyone who waits has run."""
        self.perform(acts, sends)

    def perform(self, acts, sends):
        async def main():
            for act, argument in acts:
                getattr(self, f"act_{act}")(argument)
            for key, hurried in sends:
                self.start_send(key, hurried)
            await self.idle()

        self.loop.run_until_complete(main())
        self.model.settle(self.arrived)
        self.arrived.clear()

    @rule(seconds=st.sampled_from([1.0, PATIENCE]))
    def let_time_pass(self, seconds):
        async def main():
            await asyncio.sleep(seconds)
            await self.idle()

        self.loop.run_until_complete(main())
        self.model.expire(self.loop.time())

    def new(self, key):
        self.serial += 1
        return (key, self.serial)

    def act_put(self, key):
        message = self.new(key)
        returned, outcome = message, "done"
        try:
            self.mailbox.put(message)
        except (MailboxFull, ActorStopped) as error:
            returned, outcome = error.message, OUTCOMES[type(error)]
        assert (returned, outcome) == (message, self.model.put(message))

    def act_take(self, _):
        """As the actor's loop reads."""
        message = self.mailbox.user.popleft() if self.mailbox.user else None
        if self.mailbox.room:
            self.mailbox.make_room()
        assert message == self.model.take()

    def act_cancel(self, index):
        waiting = [message for message, task in self.sends.items() if not task.done() and message not in self.model.outcomes]
        if waiting:
            message = waiting[index % len(waiting)]
            self.sends[message].cancel()
            self.model.cancel(message)

    def act_close(self, _):
        self.mailbox.close("it is stopping")
        self.model.close()

    def act_clear(self, _):
        assert self.mailbox.clear() == self.model.clear()

    def start_send(self, key, hurried):
        message = self.new(key)
        deadline = self.loop.time() + PATIENCE if hurried else None
        self.sends[message] = self.loop.create_task(self.mailbox.put_wait(message, deadline))
        self.arrived.append((message, deadline))

    async def idle(self):
        await asyncio.sleep(0)
        while self.loop.busy():
            await asyncio.sleep(0)

    @invariant()
    def same_queue_and_drops(self):
        if self.serial or hasattr(self, "mailbox"):
            assert list(self.mailbox.user) == self.model.queue
            assert self.dropped == self.model.dropped
            assert len(self.mailbox.user) <= self.mailbox.capacity

    @invariant()
    def same_outcomes_and_nobody_left_behind(self):
        assert {message: outcome_of(task) for message, task in self.sends.items() if task.done()} == self.model.outcomes
        if hasattr(self, "mailbox"):
            waiting = len(self.mailbox.room or ())
            assert waiting == len(self.model.line)
            assert self.mailbox.reserved == 0
            assert not waiting or (len(self.mailbox.user) == self.mailbox.capacity and self.mailbox.closed is None)


def test_the_mailbox_is_its_model():
    """D2: bounds and policies, room first come first served; D1: nothing lost or doubled; D3: closing refuses who waits."""
    run_state_machine_as_test(MailboxMachine, settings=settings(max_examples=examples(100, 1000), stateful_step_count=20))


@pytest.mark.parametrize(
    "fault",
    ["no turn is reserved", "a place is never given back", "closing leaves the line alone"],
)
def test_the_model_finds_a_planted_fault(fault, monkeypatch):
    """The machine above can fail: each of these makes it."""
    make_room, leave_line, close = Mailbox.make_room, Mailbox._leave_line, Mailbox.close

    def unreserved(self):
        make_room(self)
        self.reserved = 0
        self._set_limit()

    def keep_the_place(self, turn):
        if turn in self.room:
            self.room.remove(turn)

    def silent_close(self, why):
        room, self.room = self.room, None
        close(self, why)
        self.room = room

    def leave(self, turn):
        leave_line(self, turn)
        self.reserved = max(0, self.reserved)

    if fault == "no turn is reserved":
        monkeypatch.setattr(Mailbox, "make_room", unreserved)
        monkeypatch.setattr(Mailbox, "_leave_line", leave)
    elif fault == "a place is never given back":
        monkeypatch.setattr(Mailbox, "_leave_line", keep_the_place)
    else:
        monkeypatch.setattr(Mailbox, "close", silent_close)
    quick = settings(
        max_examples=200, stateful_step_count=30, phases=[Phase.generate], report_multiple_bugs=False, database=None
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(MailboxMachine, settings=quick)
