"""What a simulated Redis was told of leases: who was given a job, and who said what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import frozen

CLAIMED: Final = "claimed"
DONE: Final = "done"
"""What a claim is noted as, and one kind of end; the others are dead, retry and release."""


@frozen
class LeaseUse:
    """A call about one job, by `host`, under the lease of that `epoch`. `valid` says whether an end was recorded."""

    at: float
    host: str
    topic: str
    id: str
    epoch: int
    what: str
    valid: bool = True


def lease_uses(at: float, host: str, script: str, words: Sequence[bytes], reply: Sequence[Any]) -> Iterator[LeaseUse]:
    """Yield what a call of `claim` or `end` says; `words` are its key and arguments. Nothing for another script."""
    if script not in ("claim", "end"):
        return
    topic = topic_of(words[0])
    if script == "claim":
        for id_, epoch, *_ in reply:
            yield LeaseUse(at, host, topic, id_.decode(), int(epoch), CLAIMED)
        return
    for place, answer in zip(range(3, len(words), 5), reply, strict=True):
        kind, id_, epoch = words[place : place + 3]
        yield LeaseUse(at, host, topic, id_.decode(), int(epoch), kind.decode(), answer == 1)


def topic_of(key: bytes) -> str:
    """The topic whose keys begin so."""
    return key[key.index(b"{") + 1 : key.rindex(b"}")].decode()
