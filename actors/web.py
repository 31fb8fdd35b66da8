"""How every HTTP app here is put together."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp

from forebay.actors.hosts import OwnHosts
from forebay.actors.problems import HANDLERS


def web_app(routes: Sequence[Route], *, hosts: frozenset[str] | None = None) -> ASGIApp:
    """An app of `routes` in which every refusal is a problem body.

    `hosts` are the names that a request may call this server by (`hosts.own_hosts`), None for any.
    """
    guard = [] if hosts is None else [Middleware(OwnHosts, hosts=hosts)]
    app = Starlette(routes=routes, middleware=guard, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    return app
