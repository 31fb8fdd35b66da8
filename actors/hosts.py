"""Which names a server goes by: a guard against pages that point a name of their own at it (DNS rebinding)."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from forebay.actors.problems import FOREIGN_HOST, Problem

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_EVERY: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to


def own_hosts(host: str) -> frozenset[str] | None:
    """The names that a server bound to `host` goes by; None, for any, if it is bound to every address of the machine."""
    if host in _EVERY:
        return None
    return _LOOPBACK | {f"[{host}]" if ":" in host else host.lower()}


@frozen
class OwnHosts:
    """ASGI middleware: refuses a request whose Host header names another server."""

    app: ASGIApp
    hosts: frozenset[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http":
            name = _name_of(Request(scope).headers.get("host", ""))
            if name not in self.hosts:
                detail = (
                    f"the Host header says {name!r} and this server is {', '.join(sorted(self.hosts))}; use one of these"
                )
                await Problem(FOREIGN_HOST, detail).response()(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _name_of(host: str) -> str:
    """The host without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()
