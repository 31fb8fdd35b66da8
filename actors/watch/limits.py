"""The console's routes for limits: what each topic may move, changed live (row R7; docs/http.md).

They put a key in coordination and no more; the rate limiter of whichever process relays the topic watches it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.actors import problems
from forebay.actors.bodies import Bodies, require_json
from forebay.actors.limits import Limit, limit_key, read_limit
from forebay.actors.problems import Json, Problem
from forebay.backends.errors import BackendError
from forebay.backends.ports import Coordination, Entry
from forebay.config.units import parse_rate, show_rate

MAX_BODY: Final = 4096
BODY_TIMEOUT: Final = 10.0
"""Seconds for a body to arrive."""


def limit_routes(*, coordination: Coordination, configured: Mapping[str, float]) -> list[Route]:
    """What a console answers to. `configured` are the topics' rates (jobs/s) where nothing else is set."""
    limits = _Limits(coordination, configured, Bodies(max_body=MAX_BODY, timeout=BODY_TIMEOUT, budget=8 * MAX_BODY))
    return [
        Route("/limits", limits.show),
        Route("/limits/{action}", limits.change, methods=["POST"]),
    ]


@frozen
class _Limits:
    coordination: Coordination
    configured: Mapping[str, float]
    bodies: Bodies

    async def show(self, _request: Request) -> Response:
        """The limit of each topic."""
        try:
            return Json({topic: self._plain(topic, await self._get(topic)) for topic in self.configured})
        except BackendError as error:
            raise problems.of_backend(error) from error

    async def change(self, request: Request) -> Response:
        """Set, pause, resume or clear the limit of one topic; the answer is the limit then."""
        action = request.path_params["action"]
        if action not in _WANTED:
            raise Problem(problems.NO_SUCH_ROUTE, f"there is no {action!r} of limits; there are {', '.join(_WANTED)}")
        require_json(request)
        async with self.bodies.read(request) as body:
            topic, rate = _asked(action, body)
        if topic not in self.configured:
            topics = ", ".join(self.configured)
            raise Problem(problems.UNKNOWN_TOPIC, f"there is no topic {topic!r}; the topics are {topics}")
        try:
            return Json(self._plain(topic, await self._put(topic, action, rate)))
        except BackendError as error:
            raise problems.of_backend(error) from error

    async def _get(self, topic: str) -> Entry | None:
        return await self.coordination.get(limit_key(topic))

    async def _put(self, topic: str, action: str, rate: str | None) -> Entry | None:
        limit = _known(await self._get(topic))
        if action == "pause":
            rate, paused = limit.rate, True
        else:
            rate, paused = limit.rate if action == "resume" else rate, False
        text = str(Limit(rate, paused))
        if text:
            await self.coordination.put(limit_key(topic), text.encode())
        else:
            await self.coordination.delete(limit_key(topic))
        return await self._get(topic)

    def _plain(self, topic: str, entry: Entry | None) -> dict[str, Any]:
        limit = _known(entry)
        plain = {"rate": limit.rate, "paused": limit.paused, "configured": show_rate(self.configured[topic])}
        if entry is not None and limit == Limit():
            plain["invalid"] = entry.value[:100].decode("utf-8", "replace")
        return plain


_WANTED: Final[Mapping[str, frozenset[str]]] = {
    "set": frozenset({"topic", "rate"}),
    "pause": frozenset({"topic"}),
    "resume": frozenset({"topic"}),
    "clear": frozenset({"topic"}),
}
"""The actions, and the fields of their bodies."""


def _known(entry: Entry | None) -> Limit:
    """What is set; nothing where it is no limit, which the rate limiter reports and ignores."""
    try:
        return read_limit(entry.value) if entry is not None else Limit()
    except ValueError:
        return Limit()


def _asked(action: str, body: bytes) -> tuple[str, str | None]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(problems.MALFORMED_JSON, f"malformed JSON: {error}") from None
    wanted = _WANTED[action]
    if not isinstance(given, dict) or set(given) != wanted or not all(isinstance(text, str) for text in given.values()):
        form = ", ".join(f'"{name}": "..."' for name in sorted(wanted, reverse=True))
        raise Problem(problems.INVALID_LIMIT, f"send {{{form}}}")
    rate = given.get("rate")
    try:
        if rate is not None:
            parse_rate(rate)
    except ValueError as error:
        raise Problem(problems.INVALID_LIMIT, f"rate is {rate!r}; {error}") from None
    return given["topic"], rate and rate.strip()
