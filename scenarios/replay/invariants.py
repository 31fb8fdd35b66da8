"""Checks by name: each looks at the evidence as it is at one moment, and says what is wrong, or None.

`always` runs them at every moment of a run, `eventually` after the healing, until they hold and at the end. The names are
those of the design's invariants where it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Final

from forebay.actors.events import Zombie
from forebay.actors.relay.settled_marks import SNAPSHOT_INTERVAL
from forebay.actors.snapshot import Node, State
from forebay.scenarios.replay.evidence import Evidence, Run

Check = Callable[[Evidence], str | None]

SHOWN: Final = 3
"""So many examples are named in a problem."""

SNAPSHOT_SLACK: Final = 2 * SNAPSHOT_INTERVAL
"""Seconds before a fault in which a job may have ended without a snapshot that says so: an interval, one for the write."""


def nothing_lost(seen: Evidence) -> str | None:
    """Every job that got a positive answer has an end; only what the log itself lost under the leader's acks has none."""
    left = [id_ for id_ in seen.unended() if not seen.excused(id_)]
    return _some(left, f"of {len(seen.accepted)} accepted jobs have no end")


def nothing_gone(seen: Evidence) -> str | None:
    """The log lost no record that was accepted, not even under the leader's acks."""
    return _some(sorted(seen.gone & seen.accepted.keys()), "accepted jobs are not in the log any more")


def acks_all_kept(seen: Evidence) -> str | None:
    """The log lost no record that was accepted with the acks of all in-sync replicas."""
    left = sorted(id_ for id_ in seen.gone if id_ in seen.accepted and seen.accepted[id_].acks == "all")
    return _some(left, "jobs accepted with acks: all are not in the log any more")


def one_writer(seen: Evidence) -> str | None:
    """Once a newer term has written to a topic, no older one does: what it tries is refused.

    Within one memory of the queue: where coordination and queue have both forgotten, tokens begin low again.
    """
    newest: dict[tuple[str, str], tuple[int, int]] = {}
    for write in seen.writes:
        memory = write.topic, write.epoch
        newer = newest.get(memory, write.token)
        if write.token < newer:
            return f"{write.host} wrote to {write.topic} at {write.at:.3f} s with the token {write.token}, after {newer}"
        newest[memory] = write.token
    return None


def bytes_kept(seen: Evidence) -> str | None:
    """Every handler got its job's payload byte for byte."""
    return _some(sorted({run.id for run in seen.runs if not run.intact}), "jobs came with other bytes than were posted")


def mailboxes_bounded(seen: Evidence) -> str | None:
    """No mailbox holds more than its capacity."""
    over = [
        f"{host}{node.path} ({node.mailbox.depth} of {node.mailbox.capacity})"
        for host, node in _nodes(seen)
        if node.mailbox is not None and node.mailbox.depth > node.mailbox.capacity
    ]
    return _some(over, "mailboxes are over their capacity")


def lag_zero(seen: Evidence) -> str | None:
    """Every record of the log is in its queue, and no job waits or runs."""
    if not seen.moments:
        return "nothing was seen"
    now = seen.moments[-1]
    behind = [f"{topic}: {count} not relayed" for topic, count in now.lag.items() if count]
    behind += [f"{topic}: {count} not ended" for topic, count in now.waiting.items() if count]
    return "; ".join(behind) or None


def tree_all_running(seen: Evidence) -> str | None:
    """Every host is up, and every actor of its tree runs."""
    if not seen.moments:
        return "nothing was seen"
    trees = seen.moments[-1].trees
    down = [f"{host} (down)" for host, tree in trees.items() if tree is None]
    down += [f"{host}{node.path} ({node.state.value})" for host, node in _nodes(seen) if node.state is not State.RUNNING]
    return _some(down, "places of the trees do not run")


def no_zombie(seen: Evidence) -> str | None:
    """No task outlived its actor."""
    return _some(
        [f"{host}{event.path}" for host, event in seen.events if isinstance(event, Zombie)], "tasks outlived their actors"
    )


def no_duplicates(seen: Evidence) -> str | None:
    """No job was finished twice."""
    return _some([id_ for id_, times in seen.finished().items() if times > 1], "jobs were finished more than once")


def duplicates_explained(seen: Evidence) -> str | None:
    """A job was finished again only where a fault explains it.

    That is one that was in force while an earlier run went on, or that began at most two snapshot intervals after its end.
    """
    runs = _by_job(seen)
    unexplained = [
        id_ for id_, ended in runs.items() if any(not _explained(seen, first, second) for first, second in pairwise(ended))
    ]
    return _some(unexplained, "jobs were finished again with no fault near that explains it")


def _explained(seen: Evidence, first: Run, second: Run) -> bool:
    """Whether a fault lies between the runs' beginning, less the slack, and the earlier end and the slack."""
    assert first.ended is not None
    assert second.ended is not None
    since, until = min(first.started, second.started) - SNAPSHOT_SLACK, min(second.ended, first.ended + SNAPSHOT_SLACK)
    return any(bite.bit and bite.at <= until and (bite.until or bite.at) >= since for bite in seen.bites)


def _by_job(seen: Evidence) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {}
    for run in seen.runs:
        if run.ended is not None and not run.failed:
            runs.setdefault(run.id, []).append(run)
    return {id_: sorted(ended, key=lambda run: run.ended or 0.0) for id_, ended in runs.items()}


def _nodes(seen: Evidence) -> Iterator[tuple[str, Node]]:
    trees = seen.moments[-1].trees if seen.moments else {}
    for host, tree in trees.items():
        for node in () if tree is None else tree.walk():
            yield host, node


def _some(found: list[str], what: str) -> str | None:
    if not found:
        return None
    more = ", ..." if len(found) > SHOWN else ""
    return f"{len(found)} {what}: {', '.join(found[:SHOWN])}{more}"


CHECKS: Final[Mapping[str, Check]] = {
    "nothing-lost": nothing_lost,
    "nothing-gone": nothing_gone,
    "acks-all-kept": acks_all_kept,
    "one-writer": one_writer,
    "bytes-kept": bytes_kept,
    "mailboxes-bounded": mailboxes_bounded,
    "lag-zero": lag_zero,
    "tree-all-running": tree_all_running,
    "no-zombie": no_zombie,
    "no-duplicates": no_duplicates,
    "duplicates-explained": duplicates_explained,
}
"""Every check that a scenario can name."""
