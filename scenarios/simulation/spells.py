"""The times in which a simulated Redis had no room, numbered, and which of them a host could know of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forebay.actors.relay.headroom import LOOK, PATIENCE

if TYPE_CHECKING:
    from forebay.scenarios.simulation.redis_client import SimConnection


def is_look(words: Sequence[bytes]) -> bool:
    """Whether this command asks for the room."""
    return words[0] == b"INFO" and words[1] == b"memory"


class Spells:
    """What happened in a spell without room counts for a host that was told of it, and for one that does not ask.

    While a look waits for its answer a relay goes by the one before. A look that has none is given up, and followed by
    another, within PATIENCE and LOOK.
    """

    def __init__(self) -> None:
        self._number, self._full = 0, False
        self._asking: dict[str, tuple[SimConnection, float]] = {}
        self._told: dict[str, int] = {}

    @property
    def now(self) -> int:
        """The number of the spell that it is, from 1; 0: there is room."""
        return self._number if self._full else 0

    def see(self, *, full: bool) -> None:
        """Take note of whether there is room."""
        self._number += full and not self._full
        self._full = full

    def asked(self, connection: SimConnection, at: float) -> None:
        """A host looks at the room. Only the newest look of a host counts."""
        self._asking[connection.host] = (connection, at)

    def told(self, connection: SimConnection, spell: int) -> None:
        """The answer has arrived: that it was in this spell, or in none (0)."""
        if self._asking.get(connection.host, (None, 0.0))[0] is connection:
            del self._asking[connection.host]
            self._told[connection.host] = spell

    def known(self, host: str, at: float) -> int:
        """The number of the spell that it is, as far as the host could know by now."""
        _, since = self._asking.get(host, (None, -float("inf")))
        waits = at - since <= PATIENCE + LOOK
        return 0 if waits and self._told.get(host) != self.now else self.now
