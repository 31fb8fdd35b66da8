"""The embedded stores without their threads, for virtual time: the same SQL, run where it is awaited.

Only `Database`, the thread and its group commit, is replaced; each call is a transaction of its own.
"""

import asyncio
from pathlib import Path

from forebay.backends.sqlite import keys, log_store, queue_schema
from forebay.backends.sqlite.coordination import SqliteCoordination
from forebay.backends.sqlite.database import Database, _Call, _commit
from forebay.backends.sqlite.log import SqliteLog
from forebay.backends.sqlite.queue import SqliteQueue
from forebay.backends.sqlite.store import open_store


class InlineDatabase(Database):
    """A store file that is worked on in the loop's own thread."""

    _running = 0

    async def start(self, first):
        if self._closing:
            self._connection = open_store(self._path, self._schema)
            self._closing = False
        return await self.run(first)

    async def stop(self):
        if not self._closing:
            self._closing = True
            while self._running:
                await asyncio.sleep(0)
            self._connection.close()

    async def run(self, operation, committed=None):
        self._require_open()
        self._running += 1
        try:
            await asyncio.sleep(0)
            call = _Call(operation, asyncio.get_running_loop().create_future(), committed)
            _commit(self._connection, [call], self._path)
            call.settle()
            return await call.future
        finally:
            self._running -= 1


class InlineEmbedded:
    """The stores of one data folder, or of memory where there is none."""

    def __init__(self, data, clock, random):
        def place(name):
            return Path(":memory:") if data is None else data / name

        if data is not None:
            data.mkdir(exist_ok=True)
        self.log = SqliteLog(place("log.db"), clock)
        self.log._database = InlineDatabase(place("log.db"), log_store.SCHEMA)
        self.coordination = SqliteCoordination(place("coordination.db"), clock, random)
        self.coordination._database = InlineDatabase(place("coordination.db"), keys.SCHEMA)
        self._queue = SqliteQueue(place("queue.db"), clock, random)
        self._queue._database = InlineDatabase(place("queue.db"), queue_schema.SCHEMA)

    def queue(self, _name="main"):
        return self._queue

    async def start(self):
        for store in (self.log, self.coordination, self._queue):
            await store.start()

    async def stop(self):
        for store in (self.coordination, self._queue, self.log):
            await store.stop()
