"""The data folder: one process at a time, files by name, nothing left after stop."""

import asyncio
import errno
import fcntl
import os
import threading
from pathlib import Path
from random import Random

import pytest
from support.clock import ManualClock
from support.relay import Term, job

from forebay.backends.errors import DataFolderInUse, Full, SessionGone, Unavailable
from forebay.backends.ports import Acks, Lease, NewRecord, TopicSpec
from forebay.backends.sqlite import open_embedded


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def opened(tmp_path, clock):
    return lambda: open_embedded(tmp_path / "data", clock, Random(1))


async def start_all(embedded):
    for adapter in (embedded.log, embedded.queue("main"), embedded.coordination):
        await adapter.start()


async def test_a_folder_admits_one_process_and_names_it(opened, tmp_path):
    async with opened():
        with pytest.raises(DataFolderInUse) as error:
            opened()
        assert f"process {os.getpid()}" in str(error.value)
        assert str(tmp_path / "data") in str(error.value)
        assert "another data folder" in str(error.value)
    async with opened():
        pass


async def test_a_folder_that_cannot_be_made_is_unavailable_with_advice(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="make the data folder writable"):
        open_embedded(tmp_path / "file" / "data", ManualClock(), Random(1))


def once(error, call):
    """The call, which fails the first time."""
    failures = [OSError(error, os.strerror(error))]

    def first_fails(*args):
        if failures:
            raise failures.pop()
        return call(*args)

    return first_fails


@pytest.mark.parametrize(
    ("place", "name", "error", "kind", "advice"),
    [
        (os, "write", errno.ENOSPC, Full, "free some space"),
        (os, "write", errno.EDQUOT, Full, "free some space"),
        (os, "write", errno.EIO, Unavailable, "check the disk of the data folder"),
        (os, "ftruncate", errno.EIO, Unavailable, "check the disk of the data folder"),
        (fcntl, "flock", errno.ENOLCK, Unavailable, "on a disk of this machine"),
    ],
)
async def test_a_folder_that_cannot_be_locked_is_said_with_advice_and_can_be_tried_again(
    opened, tmp_path, monkeypatch, place, name, error, kind, advice
):
    before = len(list(Path("/dev/fd").iterdir()))
    monkeypatch.setattr(place, name, once(error, getattr(place, name)))
    with pytest.raises(kind, match=advice) as refused:
        opened()
    assert str(tmp_path / "data" / "lock") in str(refused.value)
    assert os.strerror(error) in str(refused.value)
    assert len(list(Path("/dev/fd").iterdir())) == before
    async with opened():
        assert (tmp_path / "data" / "lock").read_text() == f"{os.getpid()}\n"


async def test_a_holder_whose_name_cannot_be_read_is_in_use_and_leaves_no_descriptor(opened, monkeypatch):
    async with opened():
        before = len(list(Path("/dev/fd").iterdir()))
        monkeypatch.setattr(os, "read", once(errno.EIO, os.read))
        with pytest.raises(DataFolderInUse, match="process unknown"):
            opened()
        assert len(list(Path("/dev/fd").iterdir())) == before


async def test_each_adapter_is_one_object_with_one_file(opened, tmp_path):
    async with opened() as embedded:
        assert embedded.log is embedded.log
        assert embedded.coordination is embedded.coordination
        assert embedded.queue("main") is embedded.queue("main") is not embedded.queue("bulk")
        await start_all(embedded)
        assert {p.name for p in (tmp_path / "data").glob("*.db")} == {
            "log.db",
            "queue-main.db",
            "coordination.db",
        }


@pytest.mark.parametrize("name", ["", "../up", "a b", "x" * 101])
async def test_a_queue_name_that_is_no_file_name_is_refused(opened, name):
    async with opened() as embedded:
        with pytest.raises(ValueError, match="queue name"):
            embedded.queue(name)


async def test_stop_leaves_no_thread_no_descriptor_and_may_be_repeated(opened):
    before = len(list(Path("/dev/fd").iterdir()))
    embedded = opened()
    await start_all(embedded)
    await embedded.stop()
    await embedded.stop()
    assert [t.name for t in threading.enumerate() if t.name.startswith("forebay-")] == []
    assert len(list(Path("/dev/fd").iterdir())) == before


async def test_leases_of_an_earlier_process_have_lapsed_and_later_ones_have_not(opened):
    async with opened() as embedded:
        await embedded.queue("main").start()
        term = await Term(embedded.queue("main")).begin()
        await term.write(job("a"), job("b"))
        await term.queue.claim("jobs", Lease("old", 1, 3600), 1)
    async with opened() as embedded:
        queue = embedded.queue("main")
        await queue.start()
        await queue.claim("jobs", Lease("new", 1, 3600), 1)
        assert (await queue.reap("jobs", 10)).count == 1
        assert [c.id for c in await queue.claim("jobs", Lease("new", 2, 3600), 9)] == ["a"]


async def test_a_jump_of_the_wall_clock_lapses_no_lease(opened, clock):
    async with opened() as embedded:
        await embedded.queue("main").start()
        term = await Term(embedded.queue("main")).begin()
        await term.write(job("a"))
        await term.queue.claim("jobs", Lease("w", 1, 30), 1)
        clock.jump(86_400)
        assert (await term.queue.reap("jobs", 10)).count == 0


async def test_sessions_of_an_earlier_process_are_over_without_a_lock_delay(opened):
    async with opened() as embedded:
        await embedded.coordination.start()
        old = await embedded.coordination.create_session("a", 60, lock_delay=60)
        await embedded.coordination.acquire("lock", old, b"v")
        held = await embedded.coordination.get("lock")
    async with opened() as embedded:
        coordination = embedded.coordination
        await coordination.start()
        free = await coordination.get("lock")
        assert free.session is None
        assert free.modify_index > held.modify_index
        with pytest.raises(SessionGone):
            await coordination.renew_session(old)
        new = await coordination.create_session("a", 60, 60)
        assert await coordination.acquire("lock", new, b"v")


async def test_the_three_stores_do_not_wait_for_each_other(opened):
    async with opened() as embedded:
        await start_all(embedded)
        begun, go = threading.Event(), threading.Event()

        def stuck(connection):
            begun.set()
            assert go.wait(30)

        held = asyncio.create_task(embedded.queue("main")._database.run(stuck))
        while not begun.is_set():
            await asyncio.sleep(0)
        await embedded.log.ensure([TopicSpec("jobs", 1, 60, 1000)])
        assert list(await embedded.log.append([NewRecord("jobs", 0, b"v")], Acks.ALL)) == [0]
        go.set()
        await held
