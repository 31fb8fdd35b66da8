"""Which offsets of a partition have ended: a low mark and a bitmap above it (docs/semantics.md, "Terms and marks")."""

from __future__ import annotations

from typing import Final, Self

from attrs import field, frozen

SPAN: Final = 1 << 21
"""Offsets from the low mark on that a `Settled` tells of, at most: a quarter of a MiB of bits."""

_ALL: Final = 0xFF


@frozen
class Settled:
    """Every offset below `low` has ended, `low` has not, and above it those have whose bit in `ended` is set.

    The first bit, the highest of the first byte, stands for `first`: `low` rounded down to a multiple of 8. The bits up to
    `low` are 0, and so is what lies beyond `ended`, which does not close with a zero byte: equal states are equal values.
    """

    low: int
    ended: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, low: int, bits: bytes) -> Self:
        """Return what `bits` say, which begin at `low` rounded down to a multiple of 8 and mean nothing below `low`.

        Where the bits from `low` on are set, the low mark is moved up; of what lies above it, SPAN offsets are kept.
        """
        if not bits:
            return cls(low)
        begun = bytes([bits[0] | (_ALL & ~(_ALL >> low % 8))]) + bits[1:]
        open_ = begun.lstrip(bytes([_ALL]))
        first = low - low % 8 + 8 * (len(begun) - len(open_))
        if not open_:
            return cls(first)
        leading = 8 - (open_[0] ^ _ALL).bit_length()
        kept = bytes([open_[0] & _ALL >> leading]) + open_[1 : SPAN // 8]
        return cls(first + leading, kept.rstrip(b"\0"))

    @property
    def first(self) -> int:
        """The offset of the first bit."""
        return self.low - self.low % 8

    @property
    def end(self) -> int:
        """The first offset beyond the bits; `low` where there are none."""
        return self.first + 8 * len(self.ended) if self.ended else self.low

    @property
    def ended_above(self) -> int:
        """How many offsets above the low mark have ended."""
        return int.from_bytes(self.ended).bit_count()

    def below(self, to: int) -> Settled:
        """Return what this says of the offsets below `to`, as if no other had ended."""
        if to <= self.low:
            return Settled(to)
        whole, rest = divmod(to - self.first, 8)
        last = bytes(byte & (_ALL << 8) >> rest & _ALL for byte in self.ended[whole : whole + 1])
        return Settled(self.low, (self.ended[:whole] + last).rstrip(b"\0"))

    def has_ended(self, offset: int) -> bool:
        """Whether the offset has ended, as far as this tells: False for what lies beyond `end`."""
        if not self.low <= offset < self.end:
            return offset < self.low
        byte, bit = divmod(offset - self.first, 8)
        return bool(self.ended[byte] & (0x80 >> bit))
