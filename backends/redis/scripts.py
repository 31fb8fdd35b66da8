"""The Lua scripts, as they are sent: what all share, then the one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

_FOLDER: Final = Path(__file__).parent / "lua"


@frozen
class Script:
    """A script and the digest that Redis knows it by."""

    name: str
    text: str
    sha: str


def _script(name: str, parts: Sequence[str]) -> Script:
    text = "\n".join((_FOLDER / f"{part}.lua").read_text(encoding="utf-8") for part in (*parts, name))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_RELAY: Final = ("base", "settle", "holds", "moves", "fence")
_WORK: Final = ("base", "settle", "holds", "moves")

PLANT: Final = _script("plant", _RELAY)
MARKS: Final = _script("marks", _RELAY)
SETTLED: Final = _script("settled", _RELAY)
RESTORE: Final = _script("restore", _RELAY)
WRITE: Final = _script("write", (*_RELAY, "checkpoints", "ends"))
UNWRITTEN: Final = _script("unwritten", _RELAY)
WRITTEN: Final = _script("written", (*_RELAY, "ends"))
REWIND: Final = _script("rewind", (*_RELAY, "checkpoints"))
CLAIM: Final = _script("claim", _WORK)
RENEW: Final = _script("renew", _WORK)
END: Final = _script("end", (*_WORK, "ends"))
PROMOTE: Final = _script("promote", _WORK)
REAP: Final = _script("reap", _WORK)
COUNTS: Final = _script("counts", ("base",))
RESUBMIT: Final = _script("resubmit", (*_WORK, "ends"))
RETIRE: Final = _script("retire", (*_WORK, "ends"))
DISCARD: Final = _script("discard", (*_WORK, "ends"))

_OF_RELAY: Final = (PLANT, MARKS, SETTLED, RESTORE, WRITE, REWIND, UNWRITTEN, WRITTEN)
_OF_WORK: Final = (CLAIM, RENEW, END, PROMOTE, REAP)
_OF_PEOPLE: Final = (COUNTS, RESUBMIT, RETIRE, DISCARD)

SCRIPTS: Final = (*_OF_RELAY, *_OF_WORK, *_OF_PEOPLE)
