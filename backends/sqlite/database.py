"""One thread per store file, and group commit.

Operations of all callers wait in one queue. The thread takes every one that waits, runs them in
order in one transaction, each within a savepoint of its own so that a failing one undoes nothing
but itself, commits once, and only then answers. While a commit is being synced the next group
collects, so many concurrent callers share one sync (the group commit of Gray and Reuter,
"Transaction Processing", 9.4).

An operation is a plain function of the connection, run on the thread. It must not keep the
connection.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from attrs import define

from forebay.backends.errors import BackendError, Full, Unavailable
from forebay.backends.sqlite.faults import translate
from forebay.backends.sqlite.store import Schema, open_store

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

_WAITING = 1024  # operations that may wait; over it callers wait for room
_GROUP = 256  # operations in one transaction
_ORPHAN_CHECK = 5.0  # seconds between looks whether the owner went away without `stop`

# What an operation can say of its own arguments or data; anything else is a defect and ends the
# thread. The next call starts another one: a defect of one operation is not to close the store.
_REFUSALS = (BackendError, sqlite3.Error, ValueError, TypeError, OverflowError)


@define(eq=False)
class _Call:
    """One operation on its way: `future` is the caller's; `committed` is told on the loop even if the caller left, but not
    of what was never begun because they left before.
    """

    operation: Operation[Any]
    future: asyncio.Future[Any]
    committed: Callable[[Any], None] | None
    begun: bool = False
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        if self.begun and self.error is None and self.committed is not None:
            self.committed(self.result)
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class _GroupLost(Exception):
    """SQLite rolled the whole transaction back on its own, because of `cause`."""

    def __init__(self, cause: sqlite3.Error) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Database:
    """A store file and its thread; any number of tasks of one loop may call `run` at once."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._thread: threading.Thread | None = None
        self._closing = True
        self._lost = False  # the thread has ended though nobody asked it to
        self._outstanding: dict[_Call, None] = {}

    async def start(self, first: Operation[T]) -> T:
        """Start the thread, open the file, and return what `first` does, which is run before anything that others ask for
        meanwhile. Raises what `open_store` raises. Started already: `first` is run.
        """
        if self._thread is not None:
            return await self.run(first)
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(_WAITING)
        self._launch()
        try:
            return await self.run(first)
        except BackendError:
            await self.stop()
            raise

    def _launch(self) -> None:
        self._inbox: SimpleQueue[_Call | None] = SimpleQueue()
        self._ended = asyncio.Event()
        self._fault: BackendError | None = None
        self._closing = self._lost = False
        self._thread = threading.Thread(target=self._serve, name=f"forebay-{self._path.name}", daemon=False)
        self._thread.start()

    async def stop(self) -> None:
        """Finish what was accepted, close the file and join the thread. Callers still waiting for
        room are refused.
        """
        thread = self._thread
        if thread is None:
            return
        self._closing, self._lost = True, False
        self._inbox.put(None)
        await self._ended.wait()
        thread.join()
        self._thread = None

    async def run(self, operation: Operation[T], committed: Callable[[T], None] | None = None) -> T:
        """Run `operation` on the thread and return its result once it is durable.

        `committed` is called with the result on the loop, before the caller goes on, and also when
        the caller was cancelled meanwhile: a cancelled call may have taken effect. Raises
        `Unavailable` when stopped, `Full`, or what the operation raised; then nothing of it is
        kept. Where the thread was lost to a defect, the file is opened again first.
        """
        if self._lost and self._thread is not None:
            self._thread.join()  # that we know of its end was the last thing it did
            self._launch()
        self._require_open()
        await self._room.acquire()
        try:
            self._require_open()
        except Unavailable:
            self._room.release()  # the next caller in line is to hear it too
            raise
        call = _Call(operation, self._loop.create_future(), committed)
        self._outstanding[call] = None
        self._inbox.put(call)
        result: T = await call.future
        return result

    def _require_open(self) -> None:
        if self._closing:
            raise Unavailable(f"{self._path} is closed; start it before use")

    # on the loop

    def _settle(self, calls: Sequence[_Call]) -> None:
        for call in calls:
            if call in self._outstanding:
                del self._outstanding[call]
                self._room.release()
                call.settle()

    def _finish(self) -> None:
        self._closing, self._lost = True, not self._closing
        left = tuple(self._outstanding)
        for call in left:
            call.error = self._fault or Unavailable(f"{self._path}: its thread has ended")
        self._settle(left)
        self._ended.set()

    # on the thread

    def _serve(self) -> None:
        try:
            with closing(open_store(self._path, self._schema)) as connection:
                while group := self._next_group():
                    _commit(connection, group, self._path)
                    self._say(self._settle, group)
        except BackendError as error:
            self._fault = error
        finally:
            self._say(self._finish)

    def _next_group(self) -> list[_Call]:
        """The calls that wait now, at least one; empty when the store is to close."""
        group: list[_Call] = []
        call = self._first()
        while call is not None:
            group.append(call)
            if len(group) == _GROUP:
                break
            try:
                call = self._inbox.get_nowait()
            except Empty:
                break
        else:
            self._inbox.put(None)  # the request to stop is met again after this group
        return group

    def _first(self) -> _Call | None:
        while True:
            try:
                return self._inbox.get(timeout=_ORPHAN_CHECK)
            except Empty:
                # A program that ends without `stop` must not hang at its exit for this thread.
                if self._loop.is_closed() or not threading.main_thread().is_alive():
                    return None

    def _say(self, tell: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits for an answer any more
            self._loop.call_soon_threadsafe(tell, *arguments)


def _commit(connection: sqlite3.Connection, group: Sequence[_Call], path: Path) -> None:
    """Run a group in one transaction and leave each call's result or error in it."""
    try:
        fault = _transact(connection, group, path)
    except _GroupLost as lost:
        fault = translate(lost.cause, path)
    if isinstance(fault, Full) and len(group) > 1:
        for call in group:  # what frees room, or needs little, is not to fail with what needs much
            _commit(connection, (call,), path)
    elif fault is not None:
        for call in group:
            call.error = fault


def _transact(connection: sqlite3.Connection, group: Sequence[_Call], path: Path) -> BackendError | None:
    """Return why nothing of the group was kept, or None when it is durable."""
    committing = False
    try:
        connection.execute("BEGIN")
        for call in group:
            call.begun = not call.future.cancelled()
            if call.begun:
                _attempt(connection, call, path)
        committing = True
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return translate(error, path, committing=committing)
    return None


def _attempt(connection: sqlite3.Connection, call: _Call, path: Path) -> None:
    call.error = None
    connection.execute("SAVEPOINT call")
    try:
        call.result = call.operation(connection)
    except _REFUSALS as error:
        if isinstance(error, sqlite3.Error) and not connection.in_transaction:
            raise _GroupLost(error) from error
        call.error = translate(error, path) if isinstance(error, sqlite3.Error) else error
        connection.execute("ROLLBACK TO call")
    connection.execute("RELEASE call")
