"""Which slots are free, and how many of them are promised to claim calls under way. No I/O."""

from __future__ import annotations

import asyncio
import math

from attrs import frozen


@frozen
class FreeSlot:
    """One incarnation of a slot."""

    path: str
    incarnation: int


class SlotPool:
    """Free slots, longest free first, shared by `sharers` who claim for them."""

    def __init__(self, sharers: int) -> None:
        self._sharers = sharers
        self._free: dict[str, int] = {}
        self._promised = 0
        self._vacant = asyncio.Event()

    def add(self, path: str, incarnation: int) -> None:
        """This slot is free; a newer incarnation takes the place of an older one."""
        self._free[path] = max(incarnation, self._free.get(path, 0))
        self._note()

    async def vacancy(self) -> None:
        """Return as soon as a slot is free and not promised."""
        await self._vacant.wait()

    def promise(self, most: int) -> int:
        """Promise up to `most` slots, and at most a fair share: a call that hangs cannot hold what others could use."""
        share = math.ceil((len(self._free) - self._promised) / self._sharers)
        promised = max(0, min(most, share))
        self._promised += promised
        self._note()
        return promised

    def redeem(self, promised: int) -> None:
        """A call has ended: its promise is void, whether it took slots or not."""
        self._promised -= promised
        self._note()

    def take(self, most: int) -> list[FreeSlot]:
        """Take up to `most` free slots out of the pool."""
        paths = list(self._free)[:most]
        taken = [FreeSlot(path, self._free.pop(path)) for path in paths]
        self._note()
        return taken

    def _note(self) -> None:
        if len(self._free) > self._promised:
            self._vacant.set()
        else:
            self._vacant.clear()
