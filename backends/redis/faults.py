"""Redis' errors as ours, at the border."""

from __future__ import annotations

import re
from typing import Final

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - redis' own, which is no OSError
    InvalidResponse,
    MaxConnectionsError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,  # noqa: A004 - as above
)

from forebay.backends.errors import BackendError, Full, Unavailable, UnknownOutcome

NOT_NOW: Final = ("LOADING", "READONLY", "MASTERDOWN", "MISCONF", "NOREPLICAS", "BUSY", "TRYAGAIN")
"""How the answers begin that Redis gives while it cannot serve, having done nothing."""


IN_SCRIPT: Final = re.compile(r"@user_script: ?\d+: -(\w+ .*)", re.DOTALL)
"""Where the answer of a call in a script begins: before version 7 Redis puts the script in front of it."""


def answer_of(error: RedisError) -> str:
    """Return what Redis answered, also where it was a script's call that it answered so."""
    text = str(error)
    called = IN_SCRIPT.search(text)
    return called[1] if called else text


def is_replica(error: RedisError) -> bool:
    """Whether Redis says that it is a replica."""
    return answer_of(error).startswith("READONLY") or isinstance(error, ReadOnlyError)


def refusal(error: RedisError, where: str) -> BackendError:
    """An error that Redis answered with: nothing was done."""
    text = answer_of(error)
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in text:
        return Full(f"{where}: memory is full (maxmemory); jobs wait in the log until workers have freed some")
    if isinstance(error, AuthenticationError):
        return Unavailable(f"{where} refuses us: {text}; check user and password in the queue's url")
    if isinstance(error, (BusyLoadingError, ReadOnlyError)) or text.startswith(NOT_NOW):
        return Unavailable(f"{where} does not serve now: {text}")
    return BackendError(f"{where} refused a call: {text}")


def not_connected(error: RedisError | OSError, where: str) -> BackendError:
    """No connection, so nothing was sent."""
    if isinstance(error, (ConnectionError, TimeoutError, OSError)) and not isinstance(error, AuthenticationError):
        full = isinstance(error, MaxConnectionsError)
        reason = "all connections are in use" if full else str(error) or type(error).__name__
        return Unavailable(f"{where} cannot be reached: {reason}")
    if isinstance(error, InvalidResponse):
        return BackendError(f"what answers at {where} is no Redis ({error}); check host and port in the queue's url")
    return refusal(error, where)


def no_answer(error: RedisError | OSError, where: str) -> BackendError:
    """The connection broke or was silent for too long after something was sent."""
    return UnknownOutcome(f"{where} has not answered: {str(error) or type(error).__name__}")
