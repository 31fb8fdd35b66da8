"""Named random streams: one more draw in one place never shifts another's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random


def seeded_streams(seed: int) -> Callable[[str], Random]:
    """Return a function from a name to its stream; the same name gives the same stream object."""
    streams: dict[str, Random] = {}

    def stream(name: str) -> Random:
        if name not in streams:
            digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
            streams[name] = Random(int.from_bytes(digest, "big"))
        return streams[name]

    return stream
