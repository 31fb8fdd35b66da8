"""What a scenario can do to the system: the one table of verbs, each with its arguments and the method behind it.

A verb's `begin` says whether it bit: False where there was nothing to do, like killing what is dead. `end` undoes it; a verb
without one is over at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from forebay.config.kinds import Scalar, duration, integer, size, text
from forebay.scenarios.replay.amounts import number, share

Args = Mapping[str, Any]
Act = Callable[[Any, Args], "bool | Awaitable[bool | None] | None"]

_DAY: Final = 86_400.0
_WORD = text(r"[^\s,|]{1,240}", "write a name")


@frozen
class Argument:
    """An argument of a verb. `names` says what it names (`host`, `topic`, `queue`, `broker`, `zone`), if it is a name."""

    kind: Scalar[Any]
    about: str
    names: str = ""


@frozen
class Verb:
    """One thing that can be done. All its arguments must be given."""

    about: str
    begin: Act = field(repr=False)
    end: Act | None = field(default=None, repr=False)
    args: Mapping[str, Argument] = field(factory=dict)


HOST: Final = Argument(_WORD, "a name of `hosts`", "host")
TOPIC: Final = Argument(_WORD, "a topic of the topology", "topic")
QUEUE: Final = Argument(_WORD, "a queue of the topology", "queue")
BROKER: Final = Argument(integer(1, 99), "a broker, from 1", "broker")
ZONE: Final = Argument(_WORD, "a zone: a, b ...", "zone")
PARTITION: Final = Argument(integer(0, 9999), "a partition of the topic")
AHEAD: Final = Argument(number(-_DAY, _DAY), "seconds ahead, or (negative) behind")
LONGER: Final = Argument(duration(0, 3600), "how long it takes")
MEMORY: Final = Argument(size(1024, 2**40), "the memory limit")
LOST: Final = Argument(integer(0, 1_000_000), "how many of the newest writes are lost")
KEEP: Final = Argument(integer(0, 1_000_000), "how many of the newest records stay")
REPLIES: Final = Argument(integer(0, 1_000_000), "how many")
SHARE: Final = Argument(share(), "which share of them")
