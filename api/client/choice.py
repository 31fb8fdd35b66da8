"""Which gate is asked next: what a client knows of each gate, and a pure choice among them (row G7).

A gate that fails is left alone for a rest that grows with its failures in a row (full jitter, `forebay.jobs.full_jitter`),
and is up again when a probe has found it answering. It is on trial then, until it has served a request: it gets one at a
time while another gate is up. So a gate that answers probes and nothing else costs one request now and then, not all.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from attrs import evolve, frozen

from forebay.jobs.policy import full_jitter

REST_BASE: Final = 0.1
REST_CAP: Final = 5.0
"""Seconds: the longest rest after the first failure, and after however many."""
MAX_REST: Final = 300.0
"""Seconds: no answer's Retry-After lets a gate rest for longer."""


@frozen
class Standing:
    """What a client knows of one gate.

    `near`: it is on this host. `zone` is what the gate said of itself; None: nothing yet. `failures` are those in a row
    since it served a request; `rests_until` is when it may be probed, by the loop's clock; `error` is the last failure.
    """

    near: bool = False
    zone: str | None = None
    up: bool = False
    failures: int = 0
    rests_until: float = 0.0
    error: str | None = None

    def answering(self, zone: str) -> Standing:
        """A probe was answered."""
        return evolve(self, up=True, zone=zone)

    def serving(self) -> Standing:
        """A request was served, by a yes or by a refusal of that request alone."""
        return evolve(self, failures=0, error=None) if self.up else self

    def failing(self, error: str, now: float, random: Random, retry_after: float = 0.0) -> Standing:
        """A request or a probe failed. `retry_after` is how long (seconds) the gate asked to be left alone."""
        rest = max(full_jitter(REST_BASE, REST_CAP, self.failures + 1, random), min(retry_after, MAX_REST))
        return evolve(self, up=False, failures=self.failures + 1, rests_until=now + rest, error=error)

    def distance(self, zone: str | None) -> int:
        """0 on this host, 1 in the client's zone, 2 in another; without a zone of its own a client has no far gates."""
        if self.near:
            return 0
        return 1 if zone is None or self.zone == zone else 2


def choose(standings: Sequence[Standing], loads: Sequence[int], zone: str | None, random: Random) -> int | None:
    """The index of the gate to ask, None if none is up. `loads` are the requests that each has under way.

    The nearest gate that is up, but for one on trial that is busy; among equals the least loaded, then by lot.
    """
    up = [index for index, standing in enumerate(standings) if standing.up]

    def rank(index: int) -> tuple[bool, int, int, float]:
        standing, load = standings[index], loads[index]
        return standing.failures > 0 and load > 0, standing.distance(zone), load, random.random()

    return min(up, key=rank, default=None)
