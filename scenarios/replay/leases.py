"""Checks of what a queue was told of leases. Only a simulated one shows that."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from forebay.actors.events import Event, Exited, Noted, Started
from forebay.actors.exits import Normal, Shutdown
from forebay.scenarios.replay.evidence import Evidence, Run
from forebay.scenarios.replay.examples import some
from forebay.scenarios.replay.handling import RETRY
from forebay.scenarios.simulation.lease_use import CLAIMED, DONE, LeaseUse

KEEPER: Final = "/workers/lease_keeper"

GIVEN_UP: Final = ("lease_lost", "outcome_unknown")
"""What is noted where a lease had lapsed before the run had ended: nobody asks for its outcome."""


def one_lease(seen: Evidence) -> str | None:
    """What a worker says of a job counts only under the newest lease of it: one that was handed out again has another.

    As long as the queue loses nothing: a failover can take a lease back.
    """
    newest: dict[tuple[str, str], LeaseUse] = {}
    for use in seen.leases:
        job = use.topic, use.id
        held = newest.get(job, use)
        if use.what == CLAIMED:
            newest[job] = use
        elif use.valid and use.epoch != held.epoch and not any(held.at <= at <= use.at for at in seen.losses):
            told = f"{use.host} ended {use.id} ({use.what}) at {use.at:.3f} s"
            return f"{told} under a lease that was over: {held.host} had it since {held.at:.3f} s"
    return None


def dead_after_its_tries(seen: Evidence) -> str | None:
    """A job that is dead was handed out as often as it may be tried."""
    tries: dict[str, set[int]] = defaultdict(set)
    for use in seen.leases:
        if use.what == CLAIMED:
            tries[use.id].add(use.epoch)
    early = [id_ for id_, how in seen.ends.items() if how == "dead" and len(tries[id_]) < RETRY.max_attempts]
    return some(sorted(early), f"jobs are dead that were not handed out {RETRY.max_attempts} times")


def clean_stop(seen: Evidence) -> str | None:
    """A worker that ends in order has told the queue of every run that had come to its end: none is run again for that."""
    told: dict[tuple[str, str], list[float]] = defaultdict(list)
    for use in seen.leases:
        if use.what == DONE:
            told[use.host, use.id].append(use.at)
    keepers: dict[str, list[Event]] = defaultdict(list)
    for host, event in seen.events:
        if isinstance(event, Exited | Started) and event.path == KEEPER:
            keepers[host].append(event)
    given_up = {
        (host, dict(event.fields).get("job"))
        for host, event in seen.events
        if isinstance(event, Noted) and event.name in GIVEN_UP
    }
    untold = [
        run.id
        for run in seen.runs
        if not run.failed
        and _ended_in_order(keepers[run.host], run)
        and (run.host, run.id) not in given_up
        and not any(at >= (run.ended or 0.0) for at in told[run.host, run.id])
    ]
    return some(untold, "jobs were finished by workers that ended in order and did not tell")


def _ended_in_order(keeper: list[Event], run: Run) -> bool:
    """Whether the keeper of the run's worker came to an orderly end after it: the first thing that befell it."""
    if run.ended is None:
        return False
    first = next((event for event in keeper if event.at >= run.ended), None)
    return isinstance(first, Exited) and isinstance(first.exit, Normal | Shutdown)
