"""Ids, types and keys: short texts that can be stored, sent as a header and printed."""

from __future__ import annotations

import re

MAX_WORD = 200
"""The longest id, type, dedup id or key, in characters."""

# Control characters, line separators and lone surrogates. A fixed list, not str.isprintable, whose
# answer changes with the Unicode version of the Python that asks.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_word(field: str, value: str, most: int = MAX_WORD) -> None:
    """Raise `ValueError` unless `value` has 1 to `most` characters, all of them printable."""
    if not 1 <= len(value) <= most:
        raise ValueError(f"{field} has {len(value)} characters; it must have 1 to {most}")
    if bad := _UNPRINTABLE.search(value):
        raise ValueError(
            f"{field} holds U+{ord(bad[0]):04X} at position {bad.start()}; control characters,"
            " line separators and lone surrogates are not allowed"
        )
