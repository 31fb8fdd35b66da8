"""Instance ids and the choice of a partition."""

from __future__ import annotations

import hashlib
import random as random_module

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID_LENGTH = 26


def new_ulid(now_ms: int, random: random_module.Random) -> str:
    """A ULID: 26 characters of Crockford base 32, 48 bits of `now_ms` (Unix ms) then 80 random.

    Ids of different milliseconds sort by time; ids of one millisecond are in no order. Raises
    `ValueError` if `now_ms` does not fit 48 bits. Source: github.com/ulid/spec.
    """
    if not 0 <= now_ms < 1 << 48:
        raise ValueError(f"now_ms is {now_ms}; a ULID holds 0 to 2^48 - 1 (Unix ms)")
    number = now_ms << 80 | random.getrandbits(80)
    shifts = range(5 * (_ULID_LENGTH - 1), -1, -5)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in shifts)


def partition_of(key: str, partitions: int) -> int:
    """The partition for an ordering key or instance id, the same in every language and version.

    The first 8 bytes of the SHA-256 of the key's UTF-8, as an unsigned big-endian number, modulo
    the number of partitions. Vectors with 8 partitions (then 1000): `""` 4 (652), `"a"` 2 (250),
    `"order-1"` 4 (396), `"é"` 3 (51). Raises `ValueError` if `partitions` is not positive or the
    key holds a lone surrogate.
    """
    if partitions < 1:
        raise ValueError(f"a topic has at least one partition, not {partitions}")
    digest = hashlib.sha256(key.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") % partitions
