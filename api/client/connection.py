"""One HTTP/1.1 connection to a gate.

h11 is what the gate itself is built on, so a client adds no dependency; and a connection that is ours tells what a client
of jobs must know about a request that failed: whether any of it had left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import h11
from attrs import define, frozen

from forebay.client.address import Address

MAX_ANSWER: Final = 64 * 2**20
"""Bytes of an answer: memory stays bounded, whatever answers there."""
_CHUNK: Final = 65_536


@define
class Request:
    """One request, which may be made several times. `unanswered`: it left at least once without a whole answer to that."""

    method: str
    target: str
    body: bytes = b""
    unanswered: bool = False


@frozen
class Answer:
    """A whole answer. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(Exception):
    """No whole answer came, or none that a gate gives; the message says why."""


class Connection:
    """A connection that carries one request at a time."""

    def __init__(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._address, self._reader, self._writer = address, reader, writer
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, address: Address) -> Connection:
        """Connect. Raises `Lost`."""
        try:
            if address.path is not None:
                return cls(address, *await asyncio.open_unix_connection(address.path))
            return cls(address, *await asyncio.open_connection(address.host, address.port))
        except (OSError, UnicodeError) as error:  # UnicodeError: it is not even a host's name
            raise Lost(f"cannot connect: {error}") from error

    @property
    def usable(self) -> bool:
        """Whether another request may be made on it."""
        quiet = self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE
        return quiet and not self._reader.at_eof() and not self._writer.transport.is_closing()

    async def exchange(self, request: Request) -> Answer:
        """Make the request and return the answer. Raises `Lost`; cancelled or failed, the connection is not `usable`."""
        before = request.unanswered
        try:
            self._send(request)
            answer = await self._answer()
        except OSError as error:
            raise Lost(f"the connection broke: {error}") from error
        except h11.RemoteProtocolError as error:
            raise Lost(f"what came is no HTTP answer: {error}") from error
        request.unanswered = before
        if self._http.our_state is self._http.their_state is h11.DONE and not self._unsent:
            self._http.start_next_cycle()
        return answer

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Wait until the socket is closed."""
        try:
            await self._writer.wait_closed()
        except OSError:
            return  # how the connection ended is of no interest any more

    @property
    def _unsent(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    def _send(self, request: Request) -> None:
        headers = [("host", self._address.authority), ("user-agent", "forebay-client")]
        if request.method == "POST":
            headers += [("content-type", "application/json"), ("content-length", str(len(request.body)))]
        events = [h11.Request(method=request.method, target=request.target, headers=headers), h11.EndOfMessage()]
        if request.body:
            events.insert(1, h11.Data(data=request.body))
        text = b"".join(self._http.send(event) or b"" for event in events)
        request.unanswered = True
        self._writer.write(text)  # not drained: a gate that refuses a body answers before it has read it

    async def _answer(self) -> Answer:
        response: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_CHUNK))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert response is not None  # h11 keeps the order
                names = {name.decode("ascii"): value.decode("latin-1") for name, value in response.headers}
                return Answer(response.status_code, names, bytes(body))
            elif isinstance(event, h11.ConnectionClosed):
                raise Lost("the connection was closed before an answer came")
            if len(body) > MAX_ANSWER:
                raise Lost(f"the answer is over {MAX_ANSWER} bytes")
