"""Requests to one agent: connections that are kept, one attempt each, an end in bounded time, errors as ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from attrs import frozen
from consul.base import Response

from forebay.backends.consul.address import Address
from forebay.backends.consul.faults import not_consul, refusal, unanswered, unreachable
from forebay.backends.errors import Unavailable

T = TypeVar("T")

NO_LIMIT: Final = 0
"""Each watch keeps a connection of its own for as long as it waits; no call may queue behind watches for one."""


@frozen
class Request:
    """One request. `timeout` is in seconds, for the whole of it."""

    method: str
    path: str
    params: Sequence[tuple[str, object]]
    headers: Mapping[str, str]
    data: bytes | str | None
    timeout: float


class Connection:
    """The HTTP connections to one agent, between `open` and `close`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._session: ClientSession | None = None
        self._sending: set[asyncio.Task[Response]] = set()

    @property
    def where(self) -> str:
        """The agent's address, for errors."""
        return self._address.where

    @property
    def is_open(self) -> bool:
        """Whether requests can be made."""
        return self._session is not None

    def open(self) -> None:
        """Make ready; nothing is sent yet."""
        self._session = ClientSession(
            connector=TCPConnector(limit=NO_LIMIT),
            cookie_jar=DummyCookieJar(),
            middlewares=(self._once,),
        )

    def trial(self) -> Connection:
        """Another to the same agent, open, which nobody else has: to look at the agent before anybody uses it."""
        trial = type(self)(self._address)
        trial.open()
        return trial

    def take_over(self, trial: Connection) -> None:
        """Go on with the connections of a trial, which has them no more. Nothing is under way there."""
        self._session, trial._session = trial._session, None

    async def close(self) -> None:
        """End what is being sent or waited for, which raises `Unavailable` there, and close every connection."""
        session, self._session = self._session, None
        if session is None:
            return
        for task in self._sending:
            task.cancel()
        await session.close()
        if self._sending:
            await asyncio.wait(self._sending)

    async def call(self, callback: Callable[[Response], T], request: Request) -> T:
        """Send a request once and let `callback` read its answer. Raises any of `backends.errors`."""
        if self._session is None:
            raise Unavailable(f"Consul at {self.where} is not open; start it before use")
        task = asyncio.get_running_loop().create_task(self._send(self._session, request))
        self._sending.add(task)
        task.add_done_callback(self._sent)
        try:
            await asyncio.wait((task,))
        finally:
            task.cancel()
        if task.cancelled():
            raise unanswered(request.method, self.where, ConnectionError("coordination was stopped meanwhile"))
        return self._read(callback, request, task.result())

    def _sent(self, task: asyncio.Task[Response]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that was cancelled looks at it no more

    def _read(self, callback: Callable[[Response], T], request: Request, answer: Response) -> T:
        absent = answer.code == 404 and request.method == "GET"
        if answer.code != 200 and not absent:
            raise refusal(request.method, answer.code, answer.body, self.where)
        try:
            return callback(answer)
        except (ValueError, LookupError, TypeError) as error:
            raise not_consul(self.where, error) from error

    async def _send(self, session: ClientSession, request: Request) -> Response:
        url = self._address.base + quote(request.path, safe="/")
        if request.params:
            url = f"{url}?{urlencode(request.params)}"
        try:
            async with session.request(
                request.method,
                url,
                data=request.data,
                headers=request.headers,
                allow_redirects=False,
                # A connection may take half of the time, so that "not sent" can be told from "not answered".
                timeout=ClientTimeout(total=request.timeout, connect=request.timeout / 2),
            ) as answer:
                body = await answer.read()
                return Response(answer.status, answer.headers, body.decode("utf-8", "replace"), body)
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            raise unreachable(self.where, error) from error
        except (ClientError, OSError) as error:  # a time-out is an OSError
            raise unanswered(request.method, self.where, error) from error

    async def _once(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Keep aiohttp from sending a write again by itself when its connection broke: that is for the caller to say."""
        try:
            return await handler(request)
        except (ClientConnectorError, ConnectionTimeoutError):
            raise
        except (ClientOSError, ServerDisconnectedError) as error:
            raise unanswered(request.method, self.where, error) from error


@frozen
class Agent:
    """What python-consul2's calls (`KV`, `Session`) want as their agent, and as its `http`.

    Made by hand: the library's own constructor would take address and token from the environment in preference to ours.
    """

    connection: Connection
    token: str | None
    dc: str | None
    timeout: float
    consistency: str = "consistent"

    @property
    def http(self) -> Agent:
        """The three methods below."""
        return self

    async def get(self, callback: Any, path: str, params: Any = None, headers: Any = None) -> Any:
        """Read."""
        return await self._call("GET", callback, path, params, headers, None)

    async def put(self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None) -> Any:
        """Write."""
        return await self._call("PUT", callback, path, params, headers, data)

    async def delete(self, callback: Any, path: str, params: Any = None, headers: Any = None) -> Any:
        """Remove."""
        return await self._call("DELETE", callback, path, params, headers, None)

    async def _call(self, method: str, callback: Any, path: str, params: Any, headers: Any, data: Any) -> Any:
        request = Request(method, path, params or (), headers or {}, data, self.timeout)
        return await self.connection.call(callback, request)
