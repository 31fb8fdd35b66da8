"""Durations, sizes and rates as people write them: `250ms`, `4MiB`, `5000/s`."""

from __future__ import annotations

import math
import re

_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_RATES = {"s": 1.0, "m": 60.0, "h": 3600.0}
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", re.ASCII)
_RATE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?/ ?([A-Za-z]+)", re.ASCII)

DURATION_FORM = "write a duration like 250ms, 10s, 5m, 48h or 7d (a plain number is seconds)"
SIZE_FORM = "write a size like 64KiB, 4MiB, 1GB (a plain number is bytes)"
RATE_FORM = "write a rate like 5000/s, 100/m or 20/h"


def parse_duration(value: object) -> float:
    """Seconds, from `250ms`, `10s`, `5m`, `48h`, `7d` or a plain number of seconds.

    Raises `ValueError` whose text says what would be right.
    """
    if _is_number(value):
        return float(value)  # type: ignore[arg-type]  # _is_number admits int and float only
    number, unit = _amount(value, DURATION_FORM)
    factor = _DURATIONS.get(unit or "s")
    if factor is None:
        raise ValueError(DURATION_FORM)
    # 250 / 1000 is nearer to a quarter than 250 x 0.001
    return number / 1000 if unit == "ms" else number * factor


def parse_size(value: object) -> int:
    """Bytes, from `64KiB`, `4MiB`, `1GB` or a plain number of bytes; must come out whole.

    Raises `ValueError` whose text says what would be right.
    """
    number, unit = (value, "B") if _is_number(value) else _amount(value, SIZE_FORM)
    factor = _SIZES.get(unit or "B")
    if factor is None:
        raise ValueError(SIZE_FORM)
    size = number * factor  # type: ignore[operator]  # _is_number admits int and float only
    if size != int(size):
        raise ValueError(f"{SIZE_FORM}, in whole bytes")
    return int(size)


def parse_rate(value: object) -> float:
    """Events per second, from `5000/s`, `100/m` or `20/h`.

    Raises `ValueError` whose text says what would be right.
    """
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2] not in _RATES:
        raise ValueError(RATE_FORM)
    return float(match[1]) / _RATES[match[2]]


def show_duration(seconds: float) -> str:
    """The text that `parse_duration` reads back to the same number of seconds."""
    for unit in ("d", "h", "m"):
        count = seconds / _DURATIONS[unit]
        if seconds and count == int(count):
            return f"{int(count)}{unit}"
    if seconds < 1 and seconds * 1000 == int(seconds * 1000):
        return f"{int(seconds * 1000)}ms"
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def show_size(size: int) -> str:
    """The text that `parse_size` reads back to the same number of bytes."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return f"{size}B"


def show_rate(per_second: float) -> str:
    """A rate as text: per second where that is whole, else per minute or hour where that is."""
    for unit, factor in _RATES.items():
        count = round(per_second * factor, 9)
        if count == int(count):
            return f"{int(count)}/{unit}"
    return f"{per_second:.9f}/s"


def _amount(value: object, form: str) -> tuple[float, str]:
    match = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(form)
    return float(match[1]), match[2]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**15 and math.isfinite(value)
