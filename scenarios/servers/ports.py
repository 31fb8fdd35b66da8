"""Free loopback ports that stay free while their server is down."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
FIRST: Final = 15_000
EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """Return a free port for each name.

    They lie below the range from which the system takes the near end of a connection. In that range a client that keeps
    trying to reach a server that is down can be given the server's own port: it then talks to itself, and the server
    cannot come back. Two harnesses that choose at once begin at different places.
    """
    last = int(EPHEMERAL.read_text().split()[0]) - 1
    span = last - FIRST
    port = FIRST + secrets.randbelow(span)
    chosen: dict[str, int] = {}
    with ExitStack() as held:
        for _ in range(span):
            if len(chosen) == len(names):
                break
            port = FIRST + (port + 1 - FIRST) % span
            if _hold(held, port):
                chosen[names[len(chosen)]] = port
    if len(chosen) < len(names):
        raise OSError(f"only {len(chosen)} of {len(names)} ports between {FIRST} and {last} are free on {HOST}")
    return chosen


def _hold(held: ExitStack, port: int) -> bool:
    """Bind the port until the stack is left; False if it is taken."""
    bound = held.enter_context(socket.socket())
    try:
        bound.bind((HOST, port))
    except OSError:
        return False
    return True
