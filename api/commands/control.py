"""The client of a running runtime's control socket: HTTP over a Unix socket in its data folder."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from forebay.commands.ends import CommandFailed

SECONDS: Final = 15.0
"""How long a runtime may take to answer: longer than its own time-out, so that its answer is seen."""


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Control:
    """Asks the runtime that has a data folder. Every failure is a `CommandFailed` that says what to do."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._socket = data / "control.sock"

    def get(self, path: str, **query: str | int) -> Any:
        """Return the decoded answer to a GET."""
        return self._ask("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, body: bytes, **query: str | int) -> Any:
        """Return the decoded answer to a POST of a JSON document."""
        return self._ask("POST", f"{path}?{urlencode(query)}" if query else path, body)

    def _ask(self, method: str, target: str, body: bytes | None = None) -> Any:
        connection = _UnixConnection(self._socket)
        try:
            connection.request(method, target, body, {"Content-Type": "application/json"} if body is not None else {})
            response = connection.getresponse()
            status, answer = response.status, response.read()
        except (FileNotFoundError, ConnectionRefusedError):
            raise CommandFailed(
                f"no runtime runs in {self._data} (nothing answers at {self._socket});"
                " start one with `forebay run CONFIG`, or name another with --config or --data"
            ) from None
        except (OSError, HTTPException) as error:
            raise CommandFailed(
                f"{self._socket}: {error} ({type(error).__name__}); whether the request took effect is not known"
            ) from error
        finally:
            connection.close()
        return _decoded(status, answer)


def _decoded(status: int, answer: bytes) -> Any:
    document = json.loads(answer)
    if 200 <= status < 300:
        return document
    title, detail = document.get("title", f"status {status}"), document.get("detail", "")
    raise CommandFailed(f"{title}: {detail}" if detail else title)
