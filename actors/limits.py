"""A topic's limit as coordination holds it (row R7): what people set, and what the rate limiter makes of it."""

from __future__ import annotations

from attrs import frozen

from forebay.config.units import parse_rate

PAUSE = "pause"


def limit_key(topic: str) -> str:
    """Return the key under which coordination holds a topic's limit; without it the configured rate holds."""
    return f"forebay/limits/{topic}"


@frozen
class Limit:
    """A rate like `5000/s`, and whether the topic is paused; then the rate is what a resume brings back.

    `rate` None: the configured one. `str()` is the text that coordination holds: `5000/s`, `pause` or `pause 5000/s`.
    """

    rate: str | None = None
    paused: bool = False

    @property
    def per_second(self) -> float | None:
        """Jobs/s that may move now; None: as configured."""
        if self.paused:
            return 0.0
        return None if self.rate is None else parse_rate(self.rate)

    def __str__(self) -> str:
        return " ".join(filter(None, (PAUSE if self.paused else "", self.rate)))


def read_limit(value: bytes) -> Limit:
    """Read what coordination holds; `0` is a pause too. Raises `ValueError` whose text says what would be right."""
    text = value.decode("utf-8", "replace").strip()
    if text == "0":
        return Limit(paused=True)
    paused = text == PAUSE or text.startswith(f"{PAUSE} ")
    rate = text.removeprefix(PAUSE).strip() if paused else text
    if rate or not paused:
        parse_rate(rate)
    return Limit(rate or None, paused)
