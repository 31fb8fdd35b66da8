"""What Consul says, and its silence, as our errors, at the border."""

from __future__ import annotations

from typing import Final

from forebay.backends.errors import BackendError, SessionGone, Unavailable, UnknownOutcome

NO_SESSION: Final = ("invalid session", "failed session lookup", "Session id")
NOT_NOW: Final = ("No cluster leader", "No path to datacenter", "Missing node registration")
"""What Consul answers while it cannot serve, having done nothing."""


def refusal(method: str, status: int, text: str, where: str) -> BackendError:
    """An answer that is none: which of our errors it is. Consul tells its reasons apart by their text alone."""
    said = f"{where}: {text.strip()[:200] or 'no reason given'} (HTTP {status})"
    if status in (401, 403):
        return Unavailable(
            f"Consul refuses us at {said}; give coordination.url a token that may write keys below forebay/ and sessions"
        )
    if any(sign in text for sign in NO_SESSION):
        return SessionGone(f"the session has ended at {said}; create a new one and acquire again")
    if "Session TTL" in text:
        return BackendError(
            f"Consul refuses a session at {said}; set lock.ttl to between 10s (or its session_ttl_min) and 24h"
        )
    if status == 429 or any(sign in text for sign in NOT_NOW):
        return Unavailable(f"Consul does not serve now at {said}")
    if status >= 500:
        return silence(method, where, f"{text.strip()[:200]} (HTTP {status})")
    return BackendError(f"Consul refused a call at {said}")


def unreachable(where: str, error: Exception) -> Unavailable:
    """No connection, so nothing was sent."""
    return Unavailable(f"Consul at {where} cannot be reached: {_text(error)}")


def unanswered(method: str, where: str, error: Exception) -> Unavailable:
    """The request was sent, and the answer did not come, or not whole."""
    return silence(method, where, _text(error))


def silence(method: str, where: str, why: str) -> Unavailable:
    """No answer to count on: a reading may be made again, of a writing nobody knows whether it was done."""
    if method == "GET":
        return Unavailable(f"Consul at {where} gave no answer: {why}")
    return UnknownOutcome(f"Consul at {where} gave no answer to a write: {why}")


def not_consul(where: str, error: Exception) -> BackendError:
    """An answer that Consul would not give."""
    return BackendError(f"what answers at {where} is no Consul agent ({_text(error)}); check coordination.url")


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
