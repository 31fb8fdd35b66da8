"""Sessions of the embedded coordination end by themselves, whatever happened to their store meanwhile."""

import asyncio
from random import Random

from support.clock import ManualClock

from forebay.backends.sqlite import SqliteCoordination


async def test_a_lock_lapses_for_those_who_watch_though_the_store_failed_when_it_was_due(tmp_path):
    """The expiry task is nobody's child: were it to end, nothing would start it again (R2)."""
    clock = ManualClock()
    coordination = SqliteCoordination(tmp_path / "c.db", clock, Random(1))
    await coordination.start()

    async def run(statement):
        await coordination._database.run(lambda connection: connection.execute(statement).fetchall())

    session = await coordination.create_session("s", 10.0, 0.0)
    await coordination.acquire("lock", session, b"")
    _, held = await coordination.watch("lock", 0, 0.0)
    watching = asyncio.create_task(coordination.watch("lock", held, 5.0))
    await run("SELECT 1")
    await run("ALTER TABLE keys RENAME TO mislaid")
    clock.advance(10.0)
    coordination._deadlines.notify((None,))  # as the loop's timer would, had the loop this clock
    await asyncio.sleep(0)
    await run("SELECT 1")  # behind the release that failed
    await run("ALTER TABLE mislaid RENAME TO keys")
    entry, _ = await watching
    await coordination.stop()
    assert entry is not None
    assert entry.session is None
