"""What verbs act on: real servers, the members between which and them there are proxies, and how their handlers fare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from forebay.scenarios.fleet import Fleet
from forebay.scenarios.real.handlers import write_downstream
from forebay.scenarios.real.redis_place import RedisPlace
from forebay.scenarios.real.site import Site
from forebay.scenarios.replay.scene import Downstream


@frozen
class RealScene:
    """One system in a run. `places` are the queues' Redis by the queue's name; those of one URL share one."""

    site: Site
    fleet: Fleet
    places: Mapping[str, RedisPlace]
    downstream_file: Path
    downstream: Downstream = field(factory=Downstream)

    def change_downstream(self, *, slower: float | None = None, fails: bool | None = None) -> None:
        """Let runs that begin from now on take longer, or fail; what is not named stays."""
        if slower is not None:
            self.downstream.slower = slower
        if fails is not None:
            self.downstream.fails = fails
        write_downstream(self.downstream_file, self.downstream)
