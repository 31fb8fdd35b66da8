"""Measure one thing once, in a process of its own, and print it as JSON: `python bench/actors/one.py WHAT`, where WHAT is
`crowd`, `restart`, `parts` or `contestant NAME`. The exit code is 3 where a package is missing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import crowd
import parts
import restart
from attrs import asdict
from contestants import find
from figures import Sizes

MISSING = 3


def measure(what: str, name: str) -> Any:
    """Return the figures of one round."""
    if what == "crowd":
        return asyncio.run(crowd.measure())
    if what == "restart":
        return asyncio.run(restart.measure())
    if what == "parts":
        return asyncio.run(parts.measure())
    return find(name).run(Sizes())


def main(what: str, name: str = "") -> int:
    """Print the figures of one round."""
    try:
        figures = measure(what, name)
    except ImportError as missing:
        print(missing, file=sys.stderr)
        return MISSING
    print(json.dumps(asdict(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
