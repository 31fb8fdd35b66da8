"""One gate as a client has it: its standing, and the connections to it."""

from __future__ import annotations

import anyio

from forebay.client.address import Address
from forebay.client.choice import Standing
from forebay.client.connection import Answer, Connection, Lost, Request


class NotAsked(Exception):
    """The gate was not asked: before a connection was free it had failed, or time was up."""


class Gate:
    """Requests to one gate, over at most `connections` connections at a time. `load` are those under way or waiting."""

    def __init__(self, address: Address, connections: int) -> None:
        self.address = address
        self.standing = Standing(near=address.path is not None)
        self.load = 0
        self._free = anyio.Semaphore(connections)
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._closed = False

    async def ask(self, request: Request, deadline: float, patience: float) -> Answer:
        """Wait for a free connection until `deadline` (the loop's time), then for an answer for `patience` seconds at most.

        Raises `Lost`, and `NotAsked` when it did not come to that.
        """
        asked = False
        self.load += 1
        try:
            with anyio.CancelScope(deadline=deadline) as scope:
                async with self._free:
                    if not self.standing.up:
                        raise NotAsked
                    asked = True
                    scope.deadline = min(deadline, anyio.current_time() + patience)
                    return await self._exchange(request)
        finally:
            self.load -= 1
        raise Lost("no answer in time") if asked else NotAsked()

    async def probe(self, request: Request, patience: float) -> Answer:
        """Ask on a connection of its own, so that neither a stale nor a busy one stands in the way. Raises `Lost`."""
        with anyio.move_on_after(patience):
            return await self._on_new(request)
        raise Lost("no answer in time")

    async def close(self) -> None:
        """Close every connection, and wait until they are."""
        self._closed = True
        for connection in (ending := tuple(self._open)):
            connection.abort()
        for connection in ending:
            await connection.closed()

    async def _exchange(self, request: Request) -> Answer:
        while self._idle:
            connection = self._idle.pop()
            if not connection.usable:
                self._drop(connection)
                continue
            try:
                return await self._on(connection, request)
            except Lost:
                break  # the gate may have closed it while it was idle, which says nothing about the gate
        return await self._on_new(request)

    async def _on_new(self, request: Request) -> Answer:
        connection = await Connection.open(self.address)
        self._open.add(connection)
        if self._closed:
            self._drop(connection)
            raise Lost("the client was closed")
        return await self._on(connection, request)

    async def _on(self, connection: Connection, request: Request) -> Answer:
        try:
            return await connection.exchange(request)
        finally:
            if connection.usable:
                self._idle.append(connection)
            else:
                self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        connection.abort()
        self._open.discard(connection)
