"""Timers and monitors of a running actor against plain models (D7, T2)."""

import asyncio
import heapq
from collections import Counter, deque

import hypothesis.strategies as st
from hypothesis import assume, given, settings
from support.effort import examples
from support.puppets import Puppet, puppet, running, settled

from forebay import ChildSpec, Down, EnvironmentExit
from forebay.testing import crash, run_virtual

# Instants that never fall together, so that a model need not know how asyncio breaks ties.
DELAYS = st.sampled_from([0.0, 0.37, 0.9173, 1.7319, 3.1117])
TIMER_ACT = st.tuples(
    st.sampled_from([0.11, 0.53, 1.0301]),  # seconds since the act before
    st.sampled_from(["timer", "every", "cancel"]),
    st.sampled_from("xyz"),
    DELAYS,
)
QUIET = 10.0


class TimerModel:
    """Named timers of an actor whose handler takes `work` seconds."""

    def __init__(self, work):
        self.work = work
        self.named = {}  # name -> [serial, interval or None]
        self.agenda = []  # (when, what, name, serial)
        self.lane = deque()
        self.busy = None  # what is being handled: (name, serial)
        self.handled = []
        self.serial = 0

    def set(self, now, name, delay, interval):
        self.serial += 1
        self.named[name] = [self.serial, interval]
        heapq.heappush(self.agenda, (now + delay, "fire", name, self.serial))

    def run_until(self, end):
        while self.agenda and self.agenda[0][0] <= end:
            when, what, name, serial = heapq.heappop(self.agenda)
            current = self.named.get(name, [None])[0] == serial
            if what == "fire" and current:
                self.lane.append((name, serial))
            elif what == "done":
                self.busy = None
                if current:
                    interval = self.named[name][1]
                    self.set(when, name, interval, interval)
            self.go_on(when)

    def go_on(self, now):
        while self.lane and self.busy is None:
            name, serial = self.lane.popleft()
            if self.named.get(name, [None])[0] != serial:
                continue
            self.handled.append((now, name, serial))
            if self.named[name][1] is None:
                del self.named[name]
            self.busy = (name, serial)
            heapq.heappush(self.agenda, (now + self.work, "done", name, serial))


def model_of(acts, work):
    model, now = TimerModel(work), 0.0
    for wait, act, name, delay in acts:
        now += wait
        model.run_until(now)
        assume(not model.agenda or model.agenda[0][0] != now)
        if act == "cancel":
            model.named.pop(name, None)
        else:
            model.set(now, name, delay, delay or 0.37 if act == "every" else None)
    model.run_until(now + QUIET)
    return [(when, name) for when, name, _ in model.handled]


def run_of(acts, work):
    handled = []

    async def main():
        async with running(puppet()) as runtime:
            context = runtime.ref("/a").place.process.context

            def message(name):
                async def handle(ctx):
                    handled.append((ctx.now(), name))
                    await asyncio.sleep(work)

                return handle

            for wait, act, name, delay in acts:
                await asyncio.sleep(wait)
                if act == "timer":
                    context.timer(name, delay, message(name))
                elif act == "every":
                    context.every(name, delay or 0.37, message(name))
                else:
                    context.cancel_timer(name)
            await asyncio.sleep(QUIET)
            return list(handled)

    return run_virtual(main)


@given(st.lists(TIMER_ACT, max_size=12), st.sampled_from([0.0613, 0.7009]))
@settings(max_examples=examples(50, 500))
def test_timers_are_their_model(acts, work):
    """T2: named, replaced, cancelled also on the way, repeated from the end of the last handling, one handled at a time."""
    expected = model_of([(w, a, n, d or 0.37 if a == "every" else d) for w, a, n, d in acts], work)
    found = run_of(acts, work)
    assert [name for _, name in found] == [name for _, name in expected]
    assert all(abs(one - other) < 1e-6 for (one, _), (other, _) in zip(found, expected, strict=True))


MONITOR_ACT = st.tuples(
    st.sampled_from(["monitor", "monitor", "monitor", "demonitor", "crash", "terminate", "restart", "crash the watcher"]),
    st.integers(0, 2),
    st.integers(0, 20),
)


class MonitorModel:
    """Which `Down`s a watcher gets."""

    def __init__(self):
        self.up = [True] * 3
        self.monitors = []  # (target, is it still to come) of the watcher's incarnation, in the order of their numbers
        self.downs = []  # (watcher's incarnation, target)
        self.incarnation = 1

    def end(self, target):
        for index, (watched, stands) in enumerate(self.monitors):
            if watched == target and stands:
                self.monitors[index] = (watched, False)
                self.downs.append((self.incarnation, target))

    def apply(self, act, target, pick):
        """Returns whether the act is possible now."""
        if act == "monitor":
            self.monitors.append((target, True))
            if not self.up[target]:
                self.end(target)
        elif act == "demonitor":
            if not self.monitors:
                return False
            index = pick % len(self.monitors)
            self.monitors[index] = (self.monitors[index][0], False)
        elif act == "crash the watcher":
            self.monitors, self.incarnation = [], self.incarnation + 1
        elif self.up[target] is (act == "restart"):
            return False
        elif act == "restart":
            self.up[target] = True
        else:
            self.end(target)
            self.up[target] = act == "crash"
        return True


class Watcher(Puppet):
    async def on_message(self, ctx, message):
        if isinstance(message, Down):
            self.seen.append((ctx.incarnation, int(message.path[1:])))
        else:
            await super().on_message(ctx, message)


async def perform(runtime, act, target, pick, numbers):
    path = f"/{target}"
    if act == "monitor":
        numbers.append(await runtime.ref("/w").ask(lambda ctx: ctx.reply(ctx.monitor(runtime.ref(path))), 5))
    elif act == "demonitor":
        await runtime.ref("/w").ask(lambda ctx: ctx.reply(ctx.demonitor(numbers[pick % len(numbers)])), 5)
    elif act == "crash the watcher":
        await crash(runtime, "/w", EnvironmentExit())
        numbers.clear()
    elif act == "crash":
        await crash(runtime, path, EnvironmentExit())
    elif act == "terminate":
        await runtime.supervisor().terminate_child(str(target))
    else:
        await runtime.supervisor().restart_child(str(target))
    await asyncio.sleep(35.0)  # over the longest backoff: whatever has to restart has
    await settled(runtime, "/w")


@given(st.lists(MONITOR_ACT, max_size=20))
@settings(max_examples=examples(50, 500))
def test_monitors_are_their_model(acts):
    """D7: exactly one Down per monitor that stands when its target's incarnation ends, or at once if none runs."""
    model, downs = MonitorModel(), []
    possible = [act for act in acts if model.apply(*act)]

    async def main():
        numbers = []
        async with running(ChildSpec("w", lambda: Watcher(downs)), *(puppet(str(number)) for number in range(3))) as runtime:
            for act in possible:
                await perform(runtime, *act, numbers)
            return Counter(downs)

    assert run_virtual(main) == Counter(model.downs)
