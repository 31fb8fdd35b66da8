"""Reading request bodies within bounds: of one body, of its time, and of all bodies together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from starlette.requests import Request

from forebay.actors.problems import (
    BODY_TOO_LARGE,
    MALFORMED_REQUEST,
    OVERLOADED,
    SLOW_CLIENT,
    WRONG_CONTENT_TYPE,
    Problem,
)


class Bodies:
    """Reads bodies of at most `max_body` bytes, each within `timeout` seconds, all together at most `budget` bytes.

    What is too large by its own declaration, or finds no room, is refused before a byte of it is read. Only what has arrived
    counts: a client that declares much and sends nothing keeps nobody out.
    """

    def __init__(self, *, max_body: int, timeout: float, budget: int) -> None:
        self._max_body = max_body
        self._timeout = timeout
        self._budget = max(budget, max_body)
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body; it counts against the budget until the block is left. Raises `Problem`."""
        _refuse_encoding(request)
        share = _Share(self)
        try:
            self._require_room(self._declared(request))
            yield await self._collect(request, share)
        finally:
            share.grow(0)

    def _declared(self, request: Request) -> int:
        text = request.headers.get("content-length", "0")
        if not (text.isascii() and text.isdigit()):
            raise Problem(MALFORMED_REQUEST, "Content-Length must be a number of bytes")
        return self._fitting(int(text))

    def _fitting(self, size: int) -> int:
        if size > self._max_body:
            raise Problem(BODY_TOO_LARGE, f"a body may have {self._max_body} bytes; send less, or several requests")
        return size

    async def _collect(self, request: Request, share: _Share) -> bytes:
        body = bytearray()
        try:
            with anyio.fail_after(self._timeout):
                async for chunk in request.stream():
                    share.grow(self._fitting(len(body) + len(chunk)))
                    body += chunk
        except TimeoutError:
            close = {"connection": "close"}
            detail = f"the body did not arrive within {self._timeout:g} s; nothing was accepted, send it again faster"
            raise Problem(SLOW_CLIENT, detail, headers=close) from None
        return bytes(body)

    def hold(self, more: int) -> None:
        """Count `more` bytes (negative: give back). Raises `Problem` if there is no room."""
        self._require_room(more)
        self._held += more

    def _require_room(self, size: int) -> None:
        if self._held + size > self._budget:
            raise Problem(OVERLOADED, "too many bodies are in memory already; nothing was accepted, send it again later")


class _Share:
    """One request's part of the budget."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._size = 0

    def grow(self, size: int) -> None:
        """Hold `size` bytes from now on, if that is more than before; 0 gives everything back."""
        if size > self._size or size == 0:
            self._bodies.hold(size - self._size)
            self._size = size


def require_json(request: Request) -> None:
    """Raise `Problem` unless the body is declared as JSON in UTF-8."""
    declared = request.headers.get("content-type", "")
    media, *parameters = (part.strip().lower() for part in declared.split(";"))
    charsets = {p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")}
    if media != "application/json" or charsets - {"utf-8", "utf8"}:
        found = f"Content-Type is {declared!r}" if declared else "there is no Content-Type"
        raise Problem(WRONG_CONTENT_TYPE, f"{found}; send UTF-8 JSON as application/json")


def _refuse_encoding(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Problem(WRONG_CONTENT_TYPE, f"Content-Encoding {encoding!r} is not taken; send the body as it is")
