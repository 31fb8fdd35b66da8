"""Values that a scenario leaves open, and each seed draws: `5s..20s`, `1 | 2 | 3`, or a value that is always the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any, Final, Generic, TypeVar

from attrs import frozen

from forebay.config.kinds import Scalar

T = TypeVar("T")

STEP: Final = 0.001
"""Drawn numbers are whole thousandths: times to the millisecond."""

_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?(%?)", re.ASCII)
_SHARE_FORM = "write a share like 30%, or a number from 0 to 1"


@frozen
class Fixed(Generic[T]):
    """Always this value."""

    value: T

    def draw(self, random: Random) -> T:  # noqa: ARG002 - as the others
        """The value; draws nothing."""
        return self.value


@frozen
class Between(Generic[T]):
    """Each value from `low` to `high`, both included, equally likely."""

    low: T
    high: T

    def draw(self, random: Random) -> T:
        """One of them: a whole number between whole numbers, else a multiple of `STEP`."""
        low: Any = self.low
        high: Any = self.high
        if isinstance(low, int) and isinstance(high, int):
            whole: Any = random.randint(low, high)
            return whole  # type: ignore[no-any-return]
        steps = random.randint(0, max(0, int((high - low) / STEP + 0.5)))
        drawn: Any = min(high, round(low + steps * STEP, 9))
        return drawn  # type: ignore[no-any-return]


@frozen
class OneOf(Generic[T]):
    """One of a few values, each equally likely."""

    values: tuple[T, ...]

    def draw(self, random: Random) -> T:
        """One of them."""
        return random.choice(self.values)


Amount = Fixed[T] | Between[T] | OneOf[T]


def share() -> Scalar[float]:
    """A part of the whole: `30%`, or a number from 0 to 1; to a millionth of a percent, as it is written."""

    def read(value: object) -> float:
        match = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
        number = float(match[1]) / (100 if match[2] else 1) if match else value
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
            raise ValueError(_SHARE_FORM)
        return round(float(number), 8)

    pattern = r"^[0-9]{1,3}(\.[0-9]{1,6})? ?%?$"
    return Scalar(read, lambda part: f"{part * 100:.6f}".rstrip("0").rstrip(".") + "%", _numbers(pattern, 0, 1))


def number(least: float, most: float) -> Scalar[float]:
    """A plain number in a range, that may be negative; to a multiple of `STEP`."""

    def read(value: object) -> float:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?", value.strip(), re.ASCII):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"write a number from {least:g} to {most:g}")
        return round(float(value), 3)

    return Scalar(read, float, _numbers(r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$", least, most))


def drawn(kind: Scalar[T], *, choices: bool = True) -> Scalar[Amount[T]]:
    """One value of `kind`, a range `low..high` of it, or (with `choices`) several with `|` between."""

    def read(value: object) -> Amount[T]:
        if isinstance(value, Fixed | Between | OneOf):
            return value
        if isinstance(value, str) and ".." in value:
            return _range(kind, value)
        if isinstance(value, str) and "|" in value and choices:
            return OneOf(tuple(kind.read(part.strip()) for part in value.split("|")))
        if isinstance(value, str) and "|" in value:
            raise ValueError("write one of them, or a range low..high: this takes no choice")
        return Fixed(kind.read(value))

    def show(amount: Amount[T]) -> object:
        match amount:
            case Fixed(value):
                return kind.show(value)
            case Between(low, high):
                return f"{kind.show(low)}..{kind.show(high)}"
            case OneOf(values):
                return " | ".join(str(kind.show(value)) for value in values)

    return Scalar(read, show, {"anyOf": [kind.schema, {"type": "string", "pattern": r"\.\.|\|" if choices else r"\.\."}]})


def _range(kind: Scalar[T], text: str) -> Between[T]:
    first, _, last = text.partition("..")
    low, high = kind.read(first.strip()), kind.read(last.strip())
    ordered: Any = low
    if isinstance(low, str) or ordered > high:
        raise ValueError("write a range as low..high, like 5s..20s")
    return Between(low, high)


def _numbers(pattern: str, least: float, most: float) -> Mapping[str, Any]:
    return {"type": ["number", "string"], "minimum": least, "maximum": most, "pattern": pattern}
