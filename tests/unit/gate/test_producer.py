"""The producer on virtual time, over a log in memory: batching, honest answers, bounds (G3, G8)."""

import asyncio
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.actors.gate.messages import Append, record_size
from forebay.actors.gate.producer import Producer
from forebay.actors.process import Limits
from forebay.actors.ref import ActorDied, AskTimeout
from forebay.backends.errors import AcksNotOffered, BackendError, Full, RecordTooLarge, Unavailable, UnknownOutcome
from forebay.backends.ports import Acks, NewRecord
from forebay.scenarios.loop import run, running_loop
from forebay.supervisors.runtime import Runtime
from forebay.supervisors.spec import ChildSpec, SupervisorSpec

PATH = "/producer"
MAX_RECORD = 100


class MemoryLog:
    """The append side of the log port: each call takes `latency` seconds, then meets the next of `fates`; with a record for
    the partition `stuck` it takes for ever.
    """

    def __init__(self, latency=1.0, fates=(), offered=tuple(Acks), stuck=None):
        self.latency, self.fates, self.offered, self.stuck = latency, list(fates), offered, stuck
        self.records: list[NewRecord] = []
        self.calls: list[tuple[int, Acks]] = []

    def offers(self, _topic):
        return dict.fromkeys(self.offered, "kept for this test")

    async def append(self, records, acks):
        self.calls.append((len(records), acks))
        for record in records:
            if record_size(record) > MAX_RECORD:
                raise RecordTooLarge(record_size(record), MAX_RECORD)
        await asyncio.sleep(1e6 if self.stuck in {record.partition for record in records} else self.latency)
        fate = self.fates.pop(0) if self.fates else None
        if not isinstance(fate, Unavailable) or isinstance(fate, UnknownOutcome):
            start = len(self.records)
            self.records += records
        if fate is not None:
            raise fate
        return tuple(range(start, start + len(records)))


def append(*values, acks=Acks.LEADER):
    return Append(tuple(NewRecord("t", 0, value) for value in values), acks)


def producing(log, scenario, seed=0, *, apart=True, **options):
    """Run `scenario(runtime)` on virtual time beside a producer."""

    async def main():
        child = ChildSpec("producer", partial(Producer, log=log, apart=apart, **options), limits=Limits(shutdown=5.0))
        async with Runtime(SupervisorSpec(children=(child,)), seed=seed, clock=running_loop().clock) as runtime:
            return await scenario(runtime)

    return run(main, seed=seed)


async def ask_all(runtime, appends, timeout=60.0):
    """The answer or the error of each, asked at the same time."""
    asks = [runtime.ref(PATH).ask(one, timeout) for one in appends]
    return await asyncio.gather(*asks, return_exceptions=True)


def incarnation(runtime):
    return runtime.tree().find(PATH).incarnation


def test_appends_that_come_while_one_is_written_share_the_next_write():
    log = MemoryLog()

    async def scenario(runtime):
        first = asyncio.ensure_future(runtime.ref(PATH).ask(append(b"first"), 60.0))
        await asyncio.sleep(0.5)
        rest = await ask_all(runtime, [append(b"%d" % n, b"and") for n in range(50)])
        return [await first, *rest]

    answers = producing(log, scenario)
    assert log.calls == [(1, Acks.LEADER), (100, Acks.LEADER)]
    assert answers == [(0,)] + [(n, n + 1) for n in range(1, 101, 2)]
    assert [log.records[offsets[0]].value for offsets in answers[1:]] == [b"%d" % n for n in range(50)]


def test_each_level_of_acks_is_written_apart_and_does_not_wait_for_the_other():
    log = MemoryLog()

    async def scenario(runtime):
        await ask_all(runtime, [append(b"1"), append(b"2", acks=Acks.ALL), append(b"3")])
        return asyncio.get_running_loop().time()

    assert producing(log, scenario) == 1.0
    assert sorted(log.calls, key=str) == [(1, Acks.ALL), (2, Acks.LEADER)]


def test_a_partition_that_takes_nothing_holds_up_no_other():
    """One without a leader, say: who posts to others is answered in a second, a batch with a record for it waits in vain."""
    log = MemoryLog(stuck=3)

    async def scenario(runtime):
        async def ask(*partitions):
            records = tuple(NewRecord("t", partition, b"x") for partition in partitions)
            (answer,) = await ask_all(runtime, [Append(records, Acks.LEADER)])
            return partitions, type(answer), asyncio.get_running_loop().time()

        return await asyncio.gather(ask(3), ask(0), ask(2, 3), ask(0, 1))

    assert producing(log, scenario, limit=5.0) == [
        ((3,), UnknownOutcome, 5.0),
        ((0,), tuple, 1.0),
        ((2, 3), UnknownOutcome, 5.0),
        ((0, 1), tuple, 1.0),
    ]


def test_in_a_log_whose_partitions_stand_or_fall_together_all_share_the_next_write():
    log = MemoryLog()
    asks = [Append((NewRecord("t", partition, b"x"),), Acks.LEADER) for partition in range(8)]
    assert producing(log, lambda runtime: ask_all(runtime, asks), apart=False) == [(n,) for n in range(8)]
    assert log.calls == [(8, Acks.LEADER)]


@pytest.mark.parametrize(("offered", "taken"), [([Acks.LEADER], [Acks.LEADER]), ([], [Acks.ALL, Acks.LEADER])])
def test_acks_that_the_log_is_known_not_to_keep_are_refused_before_anything_is_written(offered, taken):
    """G4: not weakened in silence. A log that is away offers nothing yet, and says so itself."""
    log = MemoryLog(offered=offered)

    async def scenario(runtime):
        return await ask_all(runtime, [append(b"1", acks=Acks.ALL), append(b"2")])

    answers = producing(log, scenario)
    assert sorted(acks.value for _, acks in log.calls) == [acks.value for acks in taken]
    assert isinstance(answers[0], AcksNotOffered) == (Acks.ALL not in taken)
    assert isinstance(answers[1], tuple)


@pytest.mark.parametrize("error", [Unavailable("away"), UnknownOutcome("cut off"), Full("disk"), BackendError("broken")])
def test_an_error_of_the_log_reaches_whoever_asked_and_is_not_retried(error):
    log = MemoryLog(fates=[error])

    async def scenario(runtime):
        refused = await ask_all(runtime, [append(b"1"), append(b"2")])
        return refused, await ask_all(runtime, [append(b"3")]), incarnation(runtime)

    refused, after, lives = producing(log, scenario)
    assert refused == [error, error]
    assert after == [(len(log.records) - 1,)]
    assert [count for count, _ in log.calls] == [2, 1]
    assert lives == 1


@pytest.mark.parametrize("acks", Acks)
def test_a_write_that_the_log_never_answers_ends_with_an_unknown_outcome_and_the_next_one_goes_on(acks):
    log = MemoryLog()

    async def scenario(runtime):
        log.latency = 1e6
        hung = asyncio.ensure_future(ask_all(runtime, [append(b"1", acks=acks), append(b"2", acks=acks)]))
        await asyncio.sleep(0.5)
        log.latency = 1.0
        after = await ask_all(runtime, [append(b"3", acks=acks)])
        return await hung, after, asyncio.get_running_loop().time(), incarnation(runtime)

    hung, after, ended, lives = producing(log, scenario, limit=5.0)
    assert [type(error) for error in hung] == [UnknownOutcome, UnknownOutcome]
    assert after == [(0,)]
    assert ended == 6.0  # the limit, and the next write
    assert lives == 1


def test_one_record_too_large_does_not_fail_its_neighbours():
    log = MemoryLog()
    asks = [append(b"%d" % n) for n in range(16)]
    asks[5] = append(b"x" * (MAX_RECORD + 1))

    answers = producing(log, lambda runtime: ask_all(runtime, asks))
    assert isinstance(answers[5], RecordTooLarge)
    assert [log.records[a[0]].value for a in answers[:5] + answers[6:]] == [b"%d" % n for n in range(16) if n != 5]
    assert len(log.calls) <= 9  # halving: twice the depth, and the first


@pytest.mark.parametrize("bound", [{"max_pending_bytes": 30}, {"max_pending_records": 3}])
def test_beyond_its_bound_the_producer_answers_full_at_once_and_has_room_again_after_the_write(bound):
    log = MemoryLog()

    async def scenario(runtime):
        held = [asyncio.ensure_future(runtime.ref(PATH).ask(append(b"0123456789"), 60.0)) for _ in range(3)]
        await asyncio.sleep(0.5)
        with pytest.raises(Full, match="3 records, 30 bytes"):
            await runtime.ref(PATH).ask(append(b"x"), 60.0)
        refused_at = asyncio.get_running_loop().time()
        await asyncio.gather(*held)
        return refused_at, await runtime.ref(PATH).ask(append(b"x"), 60.0)

    assert producing(log, scenario, **bound) == (0.5, (3,))


def test_an_append_larger_than_the_bound_is_taken_when_nothing_else_is_held():
    assert producing(MemoryLog(), lambda r: ask_all(r, [append(b"12345", b"6")]), max_pending_bytes=3) == [(0, 1)]


def test_a_write_is_bounded_in_bytes():
    log = MemoryLog()
    asks = [append(b"0123456789") for _ in range(5)]
    assert producing(log, lambda r: ask_all(r, asks), max_batch_bytes=25) == [(n,) for n in range(5)]
    assert [count for count, _ in log.calls] == [2, 2, 1]


def test_who_stopped_waiting_before_his_turn_is_not_written():
    log = MemoryLog(latency=10.0)

    async def scenario(runtime):
        first = asyncio.ensure_future(runtime.ref(PATH).ask(append(b"first"), 60.0))
        await asyncio.sleep(1.0)
        (gone,) = await ask_all(runtime, [append(b"gone")], timeout=5.0)
        await first
        return gone, await ask_all(runtime, [append(b"last")])

    gone, last = producing(log, scenario)
    assert isinstance(gone, AskTimeout)
    assert [record.value for record in log.records] == [b"first", b"last"]
    assert last == [(1,)]


def test_a_stop_answers_what_was_accepted_first():
    log = MemoryLog()

    async def scenario(runtime):
        held = [asyncio.ensure_future(runtime.ref(PATH).ask(append(b"%d" % n), 60.0)) for n in range(3)]
        await asyncio.sleep(0.5)
        held.append(asyncio.ensure_future(runtime.ref(PATH).ask(append(b"late"), 60.0)))
        await asyncio.sleep(0.1)
        report = await runtime.stop()
        return await asyncio.gather(*held), report

    answers, report = producing(log, scenario)
    assert answers == [(0,), (1,), (2,), (3,)]
    assert (report.forced, report.abandoned, report.zombies) == ((), (), ())


def test_a_crash_never_turns_into_a_yes():
    log = MemoryLog()

    async def scenario(runtime):
        held = asyncio.ensure_future(runtime.ref(PATH).ask(append(b"1"), 60.0))
        await asyncio.sleep(0.5)
        runtime.inject(PATH, RuntimeError("a bug"))
        with pytest.raises(ActorDied, match="a bug"):
            await held
        return await runtime.ref(PATH).ask(append(b"2"), 60.0), incarnation(runtime)

    assert producing(log, scenario) == ((0,), 2)


SIZES = st.lists(st.sampled_from([1, 5, 30, MAX_RECORD, MAX_RECORD + 1]), min_size=1, max_size=4)
FATES = st.sampled_from([None, None, Unavailable("away"), UnknownOutcome("cut off"), Full("disk")])


@given(
    asks=st.lists(st.tuples(SIZES, st.sampled_from(list(Acks)), st.floats(0, 5)), min_size=1, max_size=25),
    fates=st.lists(FATES, max_size=10),
    bound=st.integers(50, 400),
)
def test_every_answer_is_true_whatever_the_log_does(asks, fates, bound):
    """A yes: exactly these records lie at these offsets. A no: none of them is there. Unknown: all or none. G3."""
    log = MemoryLog(fates=fates)

    async def one(runtime, number, sizes, acks, at):
        await asyncio.sleep(at)
        values = [b"%03d-%d" % (number, i) + b"x" * max(0, size - 5) for i, size in enumerate(sizes)]
        message = append(*values, acks=acks)
        try:
            return values, await runtime.ref(PATH).ask(message, 600.0)
        except BackendError as error:
            return values, error

    async def scenario(runtime):
        return await asyncio.gather(*(one(runtime, n, *ask) for n, ask in enumerate(asks)))

    answers = producing(log, scenario, max_pending_bytes=bound, max_batch_bytes=120)
    written = [record.value for record in log.records]
    for values, answer in answers:
        found = [value for value in written if value in values]
        if isinstance(answer, tuple):
            assert [written[offset] for offset in answer] == values == found
        elif isinstance(answer, UnknownOutcome):
            assert found in ([], values)
        else:
            assert isinstance(answer, Unavailable | RecordTooLarge)
            assert found == []
