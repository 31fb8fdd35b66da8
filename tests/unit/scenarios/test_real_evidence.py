"""What a verdict on real servers rests on: log lines, MONITOR lines, the handlers' journal, answers of a gate (F2)."""

import asyncio

import pytest

from forebay.actors.events import (
    DeadLetter,
    Dropped,
    Escalated,
    Exited,
    HandlerStuck,
    Incident,
    LoopLag,
    Noted,
    Parked,
    RestartScheduled,
    Started,
    StartFailed,
    Zombie,
)
from forebay.actors.exits import Abandoned, EnvironmentExit, Failed, Killed, Normal, Shutdown
from forebay.backends.redis.scripts import MARKS, WRITE
from forebay.commands.log_lines import line_of
from forebay.scenarios.fleet.log_reader import parse_lines
from forebay.scenarios.journal import Journal
from forebay.scenarios.real import door
from forebay.scenarios.real.events import event_of
from forebay.scenarios.real.handlers import BEGUN, ENDED, FAILED, fingerprint
from forebay.scenarios.real.monitor_lines import MonitorLines, Taken
from forebay.scenarios.real.runs import RunReader
from forebay.scenarios.replay.evidence import Evidence, Run
from forebay.scenarios.replay.workload import Job

# --- events

PLACE = {"at": 2.5, "path": "/relays/relay[jobs]/topic_lock", "incarnation": 3}
EVENTS = [
    Started(**PLACE),
    StartFailed(exit=Killed("too late"), **PLACE),
    Exited(exit=Normal("done"), **PLACE),
    Exited(exit=Shutdown("stop"), **PLACE),
    Exited(exit=Abandoned("sleeps"), **PLACE),
    Incident(child="a", environment=True, restarting=("a", "b"), **PLACE),
    Incident(child="a", environment=False, restarting=(), **PLACE),
    RestartScheduled(delay=0.25, failures=2, **PLACE),
    Escalated(child="writer", **PLACE),
    Parked(**PLACE),
    Dropped(message="Wake", why="full", **PLACE),
    DeadLetter(message="Wake", why="it (the actor) is gone", count=4, **PLACE),
    HandlerStuck(running=1.5, **PLACE),
    LoopLag(lag=0.125, **PLACE),
    Zombie(task="sleeper", **PLACE),
    Noted(name="term_begins", fields=(("generation", "1"), ("why", 'a "b"')), **PLACE),
    Noted(name="parked", fields=(("records", "2"),), **PLACE),
]


def read_back(event):
    (line,) = parse_lines(line_of(event, 1_700_000_000_000, verbose=True))
    return event_of(line, event.at)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"{type(event).__name__} {event.detail()}")
def test_an_event_is_read_back_from_its_log_line(event):
    assert read_back(event) == event


@pytest.mark.parametrize(("error", "environment"), [(EnvironmentExit("away"), True), (ValueError("a bug"), False)])
def test_a_failure_is_read_back_with_its_cause_and_whose_fault_it_was(error, environment):
    exit_ = read_back(Exited(exit=Failed(error), **PLACE)).exit
    assert isinstance(exit_, Failed)
    assert exit_.environment is environment
    assert f"{type(error).__name__}: {error}" in str(exit_.error)


# --- MONITOR

CALL = '1700000000.25 [0 127.0.0.1:50000] "EVALSHA" "{sha}" "1" "forebay:{{jobs}}:" "" "3" "7" "E1" "2" "10" "15" "14" "x"'
FENCE = '1700000000.25 [0 lua] "HMGET" "forebay:{jobs}:fence" "epoch" "generation" "index"'
MARK = '1700000000.25 [0 lua] "HGET" "forebay:{jobs}:marks" "2"'
JOB = '1700000000.25 [0 lua] "HSET" "forebay:{jobs}:bodies" "id \\" 1" "\\x92\\xa4 [0 lua] \\"HSET\\" \\"x:marks\\""'
MOVED = '1700000000.25 [0 lua] "HSET" "forebay:{jobs}:marks" "2" "15"'
STALE = '1700000000.25 [0 lua] "HINCRBY" "forebay:{jobs}:fence" "refused" "1"'
OTHER = '1700000000.30 [0 127.0.0.1:50001] "PING"'


def told(*lines):
    taken = []
    monitor = MonitorLines(taken.append)
    for line in lines:
        monitor.feed(line)
    return taken, dict(monitor.refused), monitor.changed


def test_a_range_whose_mark_moved_was_taken():
    taken, refused, changed = told(CALL.format(sha=WRITE.sha), FENCE, MARK, JOB, MOVED, OTHER)
    assert taken == [Taken(1_700_000_000.25, "jobs", (3, 7), "E1", 2, 10, 15)]
    assert refused == {}
    assert changed == 1


@pytest.mark.parametrize(
    ("lines", "why"), [((FENCE, STALE), "stale"), ((FENCE,), "missing"), ((FENCE, MARK), "mismatch")], ids=str
)
def test_a_range_that_was_refused_is_counted_by_its_reason(lines, why):
    taken, refused, _ = told(CALL.format(sha=WRITE.sha), *lines, OTHER)
    assert taken == []
    assert refused == {why: 1}


def test_a_range_that_memory_had_no_room_for_was_neither_taken_nor_refused():
    assert told(CALL.format(sha=WRITE.sha), FENCE, MARK, JOB, OTHER)[:2] == ([], {})


def test_what_other_scripts_and_other_programs_do_is_no_range():
    restored = told(CALL.format(sha=MARKS.sha), FENCE, MOVED, OTHER)
    assert restored[:2] == ([], {})
    assert told(CALL.format(sha="f" * 40), FENCE, MOVED, OTHER) == ([], {}, 0)
    assert told("+OK", "", MOVED, OTHER) == ([], {}, 0)


def test_a_call_counts_once_the_next_line_shows_that_it_is_over():
    assert told(CALL.format(sha=WRITE.sha), FENCE, MARK, MOVED) == ([], {}, 0)


# --- the handlers' journal


def test_runs_are_read_back_from_the_journal_while_it_grows(tmp_path):
    seen = Evidence()
    reader = RunReader(tmp_path / "handled", seen, {"x": b"1", "y": b"2"}, lambda wall: wall / 1000)
    with Journal(tmp_path / "handled") as journal:
        journal.note("x", "a", "100", "0", "1000", BEGUN, fingerprint(b"1"))
        journal.note("y", "b", "200", "0", "1500", BEGUN, fingerprint(b"other"))
        reader.read()
        assert [run.ended for run in seen.runs] == [None, None]
        journal.note("y", "b", "200", "0", "2000", FAILED)
        journal.note("x", "a", "100", "0", "2500", ENDED)
        reader.read()
    assert seen.runs == [
        Run("x", "a", 100, 1.0, 2.5, failed=False, intact=True),
        Run("y", "b", 200, 1.5, 2.0, failed=True, intact=False),
    ]


# --- answers of a gate

JOB_TO_POST = Job("j", 0.0, "jobs", None, "all", 0.1, (False,) * 8, 10)
PLACED = b'{"id": "j", "topic": "jobs", "partition": 3, "offset": 41, "durability": "x"}'


def answer(status, body):
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer(202, PLACED), door.Accepted(3, 41)),
        (answer(503, b"{}"), door.Refused()),
        (answer(409, b"{}"), door.Refused()),
        (answer(504, b"{}"), door.Unknown()),
        (answer(500, b"{}"), door.Unknown()),
        (answer(202, b"no json"), door.Unknown()),
        (b"", door.Unknown()),
    ],
    ids=["accepted", "away", "not offered", "too late", "fault", "nonsense", "hangs up"],
)
async def test_an_answer_tells_what_became_of_a_post(reply, expected):
    asked = []

    async def serve(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.to_thread(door.post_once, f"http://127.0.0.1:{port}", JOB_TO_POST) == expected
    assert asked[0].startswith(b"POST /v1/jobs?topic=jobs&acks=all HTTP/1.1\r\n")


def test_a_gate_that_nobody_listens_at_has_refused():
    assert door.post_once("http://127.0.0.1:9", JOB_TO_POST) == door.Refused()
