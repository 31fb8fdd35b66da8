"""Named random streams: one more draw in one place never shifts another's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random


def seeded_streams(seed: int) -> Callable[[str], Random]:
    """Return a function from a name to a new stream, at its beginning. Names are used once: they end in an incarnation, or
    in a number of the attempt, so nothing needs to be remembered of places that come and go.
    """

    def stream(name: str) -> Random:
        digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
        return Random(int.from_bytes(digest, "big"))

    return stream
