"""The thread of a store file: group commit, isolation, back-pressure, an end without leftovers
(G3).
"""

import asyncio
import sqlite3
import threading

import pytest

from forebay.backends.errors import BackendError, Full, StoreCorrupt, Unavailable
from forebay.backends.sqlite import database as module
from forebay.backends.sqlite.database import Database
from forebay.backends.sqlite.store import Schema

SCHEMA = Schema("test", mark=77, version=1, script="CREATE TABLE t (a PRIMARY KEY, b)")


@pytest.fixture
async def database(tmp_path):
    database = Database(tmp_path / "t.db", SCHEMA)
    await database.start(nothing)
    yield database
    await database.stop()


def nothing(_connection):
    """What is done first."""


def insert(value, payload=None):
    def operation(connection):
        connection.execute("INSERT INTO t VALUES (?, ?)", (value, payload))
        return value

    return operation


def values(connection):
    return [a for (a,) in connection.execute("SELECT a FROM t ORDER BY a")]


class Held:
    """An operation that keeps the thread busy until `let_go`."""

    def __init__(self, database):
        self.begun, self.go = threading.Event(), threading.Event()
        self.task = asyncio.create_task(database.run(self))

    def __call__(self, connection):
        self.begun.set()
        assert self.go.wait(30)
        return "held"

    async def reached(self):
        while not self.begun.is_set():
            await asyncio.sleep(0)
        return self

    def let_go(self):
        self.go.set()


def own_threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("forebay-")]


async def test_concurrent_operations_share_a_commit(database):
    statements = []
    held = await Held(database).reached()
    tasks = [asyncio.create_task(database.run(insert(n))) for n in range(100)]
    await asyncio.sleep(0)  # all of them are in the queue now, behind the held one
    tasks.append(asyncio.create_task(database.run(values)))
    await asyncio.sleep(0)
    held.let_go()
    await held.task
    assert (await asyncio.gather(*tasks))[-1] == list(range(100))

    await database.run(lambda connection: connection.set_trace_callback(statements.append))
    held = await Held(database).reached()
    tasks = [asyncio.create_task(database.run(insert(n))) for n in range(100, 200)]
    await asyncio.sleep(0)
    held.let_go()
    await asyncio.gather(held.task, *tasks)
    await database.run(lambda connection: connection.set_trace_callback(None))
    inserts = sum(s.startswith("INSERT") for s in statements)
    commits = statements.count("COMMIT")
    assert inserts == 100
    assert commits <= 3  # setting the trace, the held operation, and one for all the others


async def test_an_answer_comes_after_the_commit(database, tmp_path):
    await database.run(insert(1))
    with sqlite3.connect(tmp_path / "t.db") as other:
        assert values(other) == [1]
    other.close()


async def test_every_commit_is_synced(database):
    def modes(connection):
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert await database.run(modes) == ["wal", 2]  # 2 is FULL: a power cut takes nothing that was answered


async def test_a_failing_operation_undoes_itself_and_no_other(database):
    def half(connection):
        connection.execute("INSERT INTO t VALUES ('half', 1)")
        raise ValueError("on purpose")

    held = await Held(database).reached()
    tasks = [asyncio.create_task(database.run(op)) for op in (insert("a"), half, insert("b"))]
    await asyncio.sleep(0)
    held.let_go()
    outcomes = await asyncio.gather(held.task, *tasks, return_exceptions=True)
    assert outcomes[1] == "a"
    assert isinstance(outcomes[2], ValueError)
    assert outcomes[3] == "b"
    assert await database.run(values) == ["a", "b"]


async def test_an_error_of_sqlite_arrives_as_the_ports(database):
    await database.run(insert(1))
    with pytest.raises(BackendError, match="UNIQUE"):
        await database.run(insert(1))


async def test_a_cancelled_caller_disturbs_nobody(database):
    held = await Held(database).reached()
    first = asyncio.create_task(database.run(insert("cancelled")))
    second = asyncio.create_task(database.run(insert("kept")))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    held.let_go()
    assert await second == "kept"
    assert await database.run(values) == ["kept"]


async def test_what_was_committed_is_told_even_if_the_caller_left(database):
    told = []
    begun, go = threading.Event(), threading.Event()

    def slow(connection):
        begun.set()
        assert go.wait(30)
        return "late"

    caller = asyncio.create_task(database.run(slow, committed=told.append))
    while not begun.is_set():
        await asyncio.sleep(0)
    caller.cancel()
    go.set()
    await database.run(values)
    assert told == ["late"]


async def test_what_was_not_begun_for_a_caller_who_left_is_not_told_as_committed(database):
    """It would be told without a result, and what the teller raised would keep the others from their answers."""
    held = await Held(database).reached()
    told = []
    first = asyncio.create_task(database.run(insert("cancelled"), committed=told.append))
    second = asyncio.create_task(database.run(insert("kept"), committed=told.append))
    await asyncio.sleep(0)
    first.cancel()
    held.let_go()
    assert await second == "kept"
    assert told == ["kept"]


async def test_callers_wait_when_too_many_operations_do(database):
    held = await Held(database).reached()
    room = module._WAITING - 1
    tasks = [asyncio.create_task(database.run(insert(n))) for n in range(room + 5)]
    await asyncio.sleep(0)
    assert database._inbox.qsize() == room
    held.let_go()
    await asyncio.gather(held.task, *tasks)
    assert len(await database.run(values)) == room + 5


async def test_stop_finishes_what_was_accepted_refuses_the_rest_and_leaves_no_thread(database):
    held = await Held(database).reached()
    room = module._WAITING - 1
    tasks = [asyncio.create_task(database.run(insert(n))) for n in range(room + 5)]
    await asyncio.sleep(0)
    stopping = asyncio.create_task(database.stop())
    await asyncio.sleep(0)
    held.let_go()
    await stopping
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[:room] == list(range(room))
    assert all(isinstance(o, Unavailable) for o in outcomes[room:])
    assert own_threads() == []
    with pytest.raises(Unavailable):
        await database.run(values)


async def test_a_stopped_store_can_be_started_again(database):
    await database.run(insert(1))
    await database.stop()
    await database.stop()
    await database.start(nothing)
    await database.start(nothing)
    assert await database.run(values) == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_defect_in_an_operation_fails_those_beside_it_and_the_store_goes_on(database):
    """The stores stand outside of the tree: nobody but the store itself could open it again."""

    def defect(connection):
        raise RuntimeError("a defect")

    held = await Held(database).reached()
    tasks = [asyncio.create_task(database.run(op)) for op in (insert(1), defect, insert(2))]
    await asyncio.sleep(0)
    held.let_go()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(o, Unavailable) for o in outcomes)
    assert await database.run(values) == []
    await database.run(insert(3))
    await database.stop()
    assert own_threads() == []
    with pytest.raises(Unavailable):
        await database.run(values)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_store_that_was_lost_to_a_defect_can_be_stopped_and_started(database):
    with pytest.raises(Unavailable):
        await database.run(lambda _: 1 // 0)
    await database.stop()
    assert own_threads() == []
    await database.start(nothing)
    assert await database.run(values) == []


def test_a_loop_that_closes_without_stop_leaves_no_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ORPHAN_CHECK", 0.01)
    with asyncio.Runner() as runner:
        runner.run(Database(tmp_path / "t.db", SCHEMA).start(nothing))
        (thread,) = [t for t in threading.enumerate() if t.name == "forebay-t.db"]
    thread.join(10)
    assert not thread.is_alive()


# the disk


def limit_pages(pages):
    return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()


async def test_a_full_disk_is_full_and_the_store_works_again_when_there_is_room(database):
    await database.run(insert("before"))
    await database.run(limit_pages(8))
    with pytest.raises(Full):
        await database.run(insert("large", b"x" * 100_000))
    assert await database.run(values) == ["before"]
    await database.run(limit_pages(1000))
    await database.run(insert("large", b"x" * 100_000))
    assert await database.run(values) == ["before", "large"]


async def test_what_needs_little_room_is_not_refused_with_what_needs_much(database):
    await database.run(limit_pages(8))
    held = await Held(database).reached()
    operations = insert("small"), insert("large", b"x" * 100_000), insert("tiny")
    tasks = [asyncio.create_task(database.run(op)) for op in operations]
    await asyncio.sleep(0)
    held.let_go()
    outcomes = await asyncio.gather(held.task, *tasks, return_exceptions=True)
    assert isinstance(outcomes[2], Full)
    assert await database.run(values) == ["small", "tiny"]


async def test_a_store_that_cannot_be_written_is_unavailable_and_recovers(database):
    await database.run(lambda connection: connection.execute("PRAGMA query_only = 1").fetchall())
    with pytest.raises(Unavailable):
        await database.run(insert(1))
    await database.run(lambda connection: connection.execute("PRAGMA query_only = 0").fetchall())
    assert await database.run(insert(1)) == 1


# what is found at start


async def refused(path, schema=SCHEMA):
    database = Database(path, schema)
    with pytest.raises(StoreCorrupt) as error:
        await database.start(nothing)
    assert own_threads() == []
    assert str(path) in str(error.value)
    return str(error.value)


async def test_a_file_that_is_not_sqlite_is_refused_with_advice(tmp_path):
    (tmp_path / "t.db").write_bytes(b"not a database, " * 1000)
    assert "move it away" in await refused(tmp_path / "t.db")
    assert (tmp_path / "t.db").read_bytes() == b"not a database, " * 1000


async def test_somebody_elses_database_is_refused_and_left_alone(tmp_path):
    other = sqlite3.connect(tmp_path / "t.db")
    other.execute("CREATE TABLE theirs (a)")
    other.commit()
    other.close()
    before = (tmp_path / "t.db").read_bytes()
    assert "not a forebay test store" in await refused(tmp_path / "t.db")
    assert (tmp_path / "t.db").read_bytes() == before


async def test_a_newer_schema_is_refused_with_advice(tmp_path, database):
    await database.run(lambda connection: connection.execute("PRAGMA user_version = 2"))
    await database.stop()
    assert "schema 2" in await refused(tmp_path / "t.db")


async def test_a_store_of_another_kind_is_refused(tmp_path, database):
    await database.stop()
    other = Schema("other", mark=78, version=1, script="CREATE TABLE o (a)")
    assert "not a forebay other store" in await refused(tmp_path / "t.db", other)


async def test_a_damaged_file_is_corrupt(tmp_path, database):
    for n in range(200):
        await database.run(insert(n, b"x" * 1000))
    await database.stop()
    path = tmp_path / "t.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    await database.start(nothing)
    with pytest.raises(StoreCorrupt, match="damaged"):
        await database.run(lambda c: c.execute("SELECT sum(length(b)) FROM t").fetchone())


async def test_a_folder_that_is_missing_is_unavailable(tmp_path):
    with pytest.raises(Unavailable):
        await Database(tmp_path / "no" / "t.db", SCHEMA).start(nothing)
    assert own_threads() == []
