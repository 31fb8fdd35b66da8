"""HTTP/1.1 on one connection: uvicorn's protocol, with bounds for slow, large and too many clients."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from http import HTTPStatus
from typing import Any

import h11
from attrs import frozen
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from forebay.actors.gate.connections import Connections
from forebay.actors.problems import HEADERS_TOO_LARGE, MALFORMED_REQUEST, OVERLOADED, SLOW_CLIENT, Problem


@frozen
class HttpLimits:
    """Bounds of an HTTP server; times are seconds, sizes bytes.

    Over `max_connections` a request is answered with 503, over twice as many a connection is cut. `header_timeout` is for
    a request's headers, from the connection or the first byte on; `max_header` for their size. `keep_alive` is how long an
    idle connection stays, `linger` how long a client may go on with a body whose answer is complete, `write_timeout` how
    long one may leave its answers unread. `drain` is how long a stop waits for requests in hand.
    """

    max_connections: int = 1000
    header_timeout: float = 10.0
    max_header: int = 16 * 1024
    keep_alive: float = 5.0
    linger: float = 2.0
    write_timeout: float = 10.0
    drain: float = 5.0


class HttpProtocol(H11Protocol):
    """One connection. Asyncio's calls only; all work is done in the request's own task."""

    def __init__(
        self,
        config: Config,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: HttpLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = logging.getLogger("forebay.http")
        self.access_log = False
        self._state = server_state
        self._limits = limits
        self._headers_due: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin: the headers are due from now on."""
        super().connection_made(transport)
        count = len(self.connections)
        if self._state.closing or count > 2 * self._limits.max_connections:
            transport.abort()
            return
        if count > self._limits.max_connections:
            self.app = _overloaded
        transport.set_write_buffer_limits(high=0)  # so that `pause_writing` comes whenever the client does not read
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._headers_arrived()
        self._unset_keepalive_if_required()
        for timer in (self._lingering, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        self._state.lost()

    def data_received(self, data: bytes) -> None:
        """Hand bytes to uvicorn, and see whether the headers are complete."""
        self._state.refresh_date()
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        """The client does not read: its time begins."""
        super().pause_writing()
        self._unread = self.loop.call_later(self._limits.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read everything."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    # --- uvicorn's calls

    def on_response_complete(self) -> None:
        """Go on with the next request; a client that still sends the last one's body has a little time for that."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._lingering = self.loop.call_later(self._limits.linger, self._linger_over, self.cycle)
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP; uvicorn calls this while it handles h11's error."""
        error = sys.exc_info()[1]
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        if hint == HEADERS_TOO_LARGE.status:
            detail = f"headers may have {self._limits.max_header} bytes; send fewer or shorter ones"
            self._refuse(Problem(HEADERS_TOO_LARGE, detail))
        else:
            self._refuse(Problem(MALFORMED_REQUEST, f"{error or msg}; send HTTP/1.1 as RFC 9112 has it"))

    # --- headers

    def _watch(self) -> None:
        """Set or clear the headers' deadline, by what h11 waits for."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._headers_arrived()
        elif self.conn.trailing_data[0]:
            self._unset_keepalive_if_required()
            self._await_headers()

    def _await_headers(self) -> None:
        if self._headers_due is None:
            self._headers_due = self.loop.call_later(self._limits.header_timeout, self._headers_late)

    def _headers_arrived(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _headers_late(self) -> None:
        self._headers_due = None
        if not self.conn.trailing_data[0]:
            self.transport.close()  # it never began
            return
        detail = f"the headers did not arrive within {self._limits.header_timeout:g} s; send the request at once"
        self._refuse(Problem(SLOW_CLIENT, detail))

    def _linger_over(self, cycle: object) -> None:
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer outside of any request, and close."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # an answer is under way already: nothing can be said any more
            return
        self._state.refresh_date()
        headers = [*self._state.default_headers, (b"content-type", b"application/problem+json"), (b"connection", b"close")]
        status = problem.kind.status
        for event in (
            h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()),
            h11.Data(data=json.dumps(problem.body()).encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


async def _overloaded(scope: Scope, receive: Receive, send: Send) -> None:
    """The app of a connection too many."""
    detail = "too many connections are open; nothing was accepted, send it again later"
    await Problem(OVERLOADED, detail, headers={"connection": "close"}).response()(scope, receive, send)
