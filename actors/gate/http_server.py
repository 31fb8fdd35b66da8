"""The HTTP server: one listening socket, an ASGI app, and an orderly end. It serves the gate and the console alike.

uvicorn gives the protocol; its `Server` is left out, because it polls ten times a second, installs signal handlers and
exits the process when something is wrong, all of which belong to the program around us.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from forebay.actors.actor import Actor
from forebay.actors.context import Context
from forebay.actors.exits import Exit
from forebay.actors.gate.binding import BACKLOG, bound_address, open_listener
from forebay.actors.gate.connections import Connections
from forebay.actors.gate.messages import Tcp, Unix, WhereBound
from forebay.actors.gate.protocol import HttpLimits, HttpProtocol

_DEFAULT: Final = HttpLimits()


class HttpServer(Actor[WhereBound]):
    """Serves `app` on `bind` while it lives. A start fails with `PortTaken` or `CannotBind`.

    `app` is called with the actor's context for each incarnation. A stop closes the socket, answers the requests in hand
    for at most `limits.drain` seconds, and leaves no task or descriptor; the child's `shutdown` must be longer by more
    than `CUT_PATIENCE`. A Unix socket has mode 0600; a stale one is replaced, and it is removed at the end.
    """

    def __init__(self, *, app: Callable[[Context], ASGIApp], bind: Tcp | Unix, limits: HttpLimits = _DEFAULT) -> None:
        self._app = app
        self._bind = bind
        self._limits = limits

    async def on_start(self, ctx: Context) -> None:
        """Bind and listen."""
        self._connections = Connections(ctx.wall)
        config = self._config(self._app(ctx))
        with ExitStack() as undo:
            listener = undo.enter_context(await open_listener(self._bind))
            self.address = bound_address(listener)
            self._inode = _inode(self.address)
            self._server = await self._create(config, listener)
            undo.callback(self._server.close)
            await self._server.start_serving()
            undo.pop_all()
        ctx.note("listening", url=self.address.url)

    async def on_message(self, ctx: Context, message: WhereBound) -> None:  # noqa: ARG002 - it says all by its type
        """Say where it listens."""
        ctx.reply(self.address.url)

    async def on_stop(self, ctx: Context, exit_: Exit) -> None:  # noqa: ARG002 - every end is the same
        """Stop accepting, answer what is in hand, close."""
        self._server.close()
        if isinstance(self.address, Unix) and _inode(self.address) == self._inode:
            with suppress(FileNotFoundError):
                self.address.path.unlink()
        await self._connections.close(self._limits.drain)

    async def _create(self, config: uvicorn.Config, listener: socket.socket) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        factory = partial(HttpProtocol, config, self._connections, {}, loop, limits=self._limits)
        create: Any = loop.create_unix_server if isinstance(self.address, Unix) else loop.create_server
        server: asyncio.Server = await create(factory, sock=listener, backlog=BACKLOG, start_serving=False)
        return server

    def _config(self, app: ASGIApp) -> uvicorn.Config:
        config = uvicorn.Config(
            app,
            interface="asgi3",
            http=HttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,  # and access_log stays at its default: turning it off would silence the host's own uvicorn
            proxy_headers=False,
            timeout_keep_alive=self._limits.keep_alive,  # type: ignore[arg-type]  # it goes to loop.call_later
            h11_max_incomplete_event_size=self._limits.max_header,
        )
        config.load()
        return config


def _inode(address: Tcp | Unix) -> int | None:
    """What tells our socket from one that took its place."""
    path: Path | None = address.path if isinstance(address, Unix) else None
    return path.lstat().st_ino if path is not None and path.is_socket() else None
