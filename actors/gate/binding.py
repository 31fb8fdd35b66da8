"""Sockets to listen on. We bind them ourselves: an HTTP server that cannot bind must be an error, not a process's exit."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from forebay.actors.exits import ActorError
from forebay.actors.gate.messages import Tcp, Unix

BACKLOG: Final = 1024
"""Connections that the kernel holds until they are accepted; it has a limit of its own, often lower."""

_ADVICE: Final = {
    errno.EACCES: "this user may not bind it: choose a port from 1024 on, or a folder that is writable",
    errno.EADDRNOTAVAIL: "the address is not of this machine: choose one that is, or 127.0.0.1",
    errno.ENOENT: "its folder does not exist: make it first",
}


class CannotBind(ActorError):
    """An address cannot be listened on; the message says why and what to do."""

    def __init__(self, address: Tcp | Unix, why: str) -> None:
        super().__init__(f"cannot listen on {address.url}: {why}")
        self.address = address


class PortTaken(CannotBind):
    """Another program listens there."""


async def open_listener(address: Tcp | Unix) -> socket.socket:
    """Return a listening socket that does not block. Raises `PortTaken`, `CannotBind`."""
    return _open_unix(address) if isinstance(address, Unix) else await _open_tcp(address)


def bound_address(listener: socket.socket) -> Tcp | Unix:
    """Where the socket listens."""
    name = listener.getsockname()
    return Unix(Path(name)) if listener.family is socket.AF_UNIX else Tcp(name[0], name[1])


async def _open_tcp(address: Tcp) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: it is not even a name
        raise CannotBind(address, f"{address.host!r} is no host of ours ({error}): write an IP address") from error
    family, *_, where = found[0]
    with ExitStack() as undo:
        listener = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections do not keep the port
        try:
            listener.bind(where)
            _listen(listener)
        except OSError as error:
            raise _tcp_error(address, error) from error
        undo.pop_all()
        return listener


def _tcp_error(address: Tcp, error: OSError) -> CannotBind:
    if error.errno == errno.EADDRINUSE:
        advice = f"port {address.port} is taken: stop the program that has it, or choose another port (0 is any free one)"
        return PortTaken(address, advice)
    return CannotBind(address, _advice(error))


def _open_unix(address: Unix) -> socket.socket:
    with ExitStack() as undo:
        listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            _remove_stale(address)
            listener.bind(str(address.path))
            address.path.chmod(0o600)  # before listen: until then nobody can connect
            _listen(listener)
        except OSError as error:
            too_long = error.errno is None  # the path did not even fit the system call
            why = f"{error}; a socket's path has about 100 bytes: choose a shorter data folder"
            raise CannotBind(address, why if too_long else _advice(error)) from error
        undo.pop_all()
        return listener


def _remove_stale(address: Unix) -> None:
    """Remove a socket that nobody listens on any more. Raises `PortTaken`, and `CannotBind` for another kind of file."""
    try:
        mode = address.path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotBind(address, "another kind of file is there: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(str(address.path)) != errno.ECONNREFUSED:
            raise PortTaken(address, "another program listens there: stop it, or choose another data folder")
    address.path.unlink()


def _listen(listener: socket.socket) -> None:
    listener.listen(BACKLOG)
    listener.setblocking(False)


def _advice(error: OSError) -> str:
    reason = os.strerror(error.errno or 0)
    return f"{reason}; {_ADVICE[error.errno]}" if error.errno in _ADVICE else reason
