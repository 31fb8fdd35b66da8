"""Checks by name: each looks at the evidence as it is at one moment, and says what is wrong, or None.

`always` runs them at every moment of a run, `eventually` after the healing, until they hold and at the end. The names are
those of the design's invariants where it has one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Final

from forebay.actors.events import Zombie
from forebay.actors.relay.settled_marks import SNAPSHOT_INTERVAL
from forebay.actors.snapshot import Node, State
from forebay.scenarios.replay.evidence import Bite, Evidence, Run, Write

Check = Callable[[Evidence], str | None]

SHOWN: Final = 3
"""So many examples are named in a problem."""

SNAPSHOT_SLACK: Final = 2 * SNAPSHOT_INTERVAL
"""Seconds before a fault in which a job may have ended without a snapshot that says so: an interval, one for the write."""


RECORDING: Final = 3.0
"""Seconds after its end within which a run is recorded as over, if nothing hinders that."""

FORGET: Final = frozenset(
    {
        "redis.wipe", "redis.flush", "redis.failover", "kafka.broker.kill", "kafka.zone.kill", "kafka.kill", "kafka.unclean",
        "kafka.leader.move", "kafka.broker.stop", "kafka.zone.stop", "kafka.stop",
    }
)  # fmt: skip
"""Faults that bring jobs again: they take from the queue, or cut the log."""

HINDER: Final = frozenset(
    {
        "host.kill", "host.pause", "redis.kill", "redis.cut", "redis.latency", "redis.slow", "redis.replies.drop",
        "redis.limit", "kafka.answers.break", "kafka.cut", "kafka.latency",
    }
)  # fmt: skip
"""Faults that can keep the end of a run from being recorded."""

SLOW: Final = 0.4
"""Seconds: where messages take no longer, a lease does not lapse, and ends are recorded."""

ON_THE_WAY: Final = 3
"""Ranges of a partition that may still come when the queue has no room: of one term, of the next, and one more."""

MOST_CALLS: Final = 800
"""What a host may ask queues for between two looks, a second apart: more than a scenario of 100 jobs a second needs."""


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
    """Once a newer term has planted its fence at a topic, no older one writes: what it tries is refused.

    Within one memory of the queue, and as long as that loses nothing: where coordination and queue have both forgotten,
    tokens begin low again, and a failover can lose the fence.
    """
    newest: dict[tuple[str, str], Write] = {}
    for write in seen.writes:
        memory = write.topic, write.epoch
        newer = newest.get(memory, write)
        if write.token < newer.token and not any(newer.at <= at <= write.at for at in seen.losses):
            told = f"{write.host} wrote to {write.topic} at {write.at:.3f} s with the token {write.token}"
            return f"{told}, after {newer.token} at {newer.at:.3f} s"
        newest[memory] = write
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
    """A job that was posted once was finished again only where a fault explains it: one that makes the queue forget, or that
    kept the end of a run from being recorded.
    """
    runs = _by_job(seen)
    unexplained = [
        id_
        for id_, ended in runs.items()
        if id_ not in seen.again and any(not any(_explained(bite, *pair) for bite in seen.bites) for pair in pairwise(ended))
    ]
    left = [id_ for id_ in unexplained if not _has_two_records(seen, id_)]
    return _some(left, "jobs were finished again with no fault near that explains it")


def _has_two_records(seen: Evidence, id_: str) -> bool:
    """Whether the job was put back into the log and the queue forgot after that: then both records bring it, at any time."""
    detours = _detours(seen, id_)
    return any(bite.do in FORGET and bite.bit and bite.at >= at for bite in seen.bites for at in detours)


def _detours(seen: Evidence, id_: str) -> list[float]:
    """When the job was put back into the log; one whose post had no answer may be any of those that were."""
    put_back, accepted = seen.put_back(), seen.accepted.get(id_)
    if accepted is None:
        return [at for times in put_back.values() for at in times]
    return put_back.get((accepted.topic, accepted.partition, accepted.offset), [])


def _explained(bite: Bite, first: Run, second: Run) -> bool:
    """Whether a fault can be why the job of the earlier run came again.

    What forgets, or cuts the log, brings again what ended up to the slack before; of what else can keep an end from being
    recorded it must be in force then. Nothing else brings a job again.
    """
    assert first.ended is not None
    assert second.ended is not None
    begun = min(first.started, second.started)
    if bite.do in FORGET:
        since, until = begun - SNAPSHOT_SLACK, min(second.ended, first.ended + SNAPSHOT_SLACK)
    elif bite.do in HINDER and not _is_small(bite):
        lasting = RECORDING if bite.until is None else 0.0  # what is over at once has its effect on the next calls
        since, until = begun - lasting, min(second.ended, first.ended + RECORDING)
    else:
        return False
    return _within(bite, since, until)


def _is_small(bite: Bite) -> bool:
    by = bite.args.get("by")
    return isinstance(by, int | float) and by <= SLOW


def marks_move_on(seen: Evidence) -> str | None:
    """Within one memory of the queue no range is written twice; only lost data or a cut log move marks back."""
    reached: dict[tuple[str, str, int], Write] = {}
    for write in seen.writes:
        place = write.topic, write.epoch, write.partition
        last = reached.get(place)
        if (
            last is not None
            and write.start < min(last.to, write.to)
            and not any(last.at <= at <= write.at for at in seen.losses)
        ):
            again = f"{write.start} to {write.to} of {write.topic}/{write.partition} at {write.at:.3f} s"
            return f"{write.host} wrote {again}, where the mark had reached {last.to} at {last.at:.3f} s"
        reached[place] = write
    return None


def stops_without_room(seen: Evidence) -> str | None:
    """While a queue has no room the relay stops: what was on its way comes, and no more.

    What comes after a queue has begun to refuse single jobs does not count: what is on its way comes in pieces then.
    """
    pieces = min((bite.at for bite in seen.bites if bite.do == "redis.refuse" and bite.bit), default=math.inf)
    written = Counter(
        (write.topic, write.partition, write.spell)
        for write in seen.writes
        if write.spell and write.to > write.start and write.at < pieces
    )
    over = [f"{topic}/{partition} ({count})" for (topic, partition, _), count in written.items() if count > ON_THE_WAY]
    return _some(over, "partitions were written to again and again while their queue had no room")


def settled_once(seen: Evidence) -> str | None:
    """What a snapshot in the log says has ended is not run again, whatever the queue forgets; but for a failover that took
    the end back, a job that is in the log twice, and a host that stood still between taking a job and running it.
    """
    again = [
        run.id
        for run in seen.runs
        if run.started > seen.settled.get(run.id, run.started) + RECORDING
        and run.id not in seen.again
        and not _taken_back(seen, run)
    ]
    return _some(again, "jobs ran though a snapshot says that they had ended")


def _taken_back(seen: Evidence, run: Run) -> bool:
    """Whether a fault lets a job run that had ended: see `settled_once`."""
    posted, settled = seen.accepted[run.id].at, seen.settled[run.id]
    windows = {
        "redis.failover": (settled - SNAPSHOT_SLACK, run.started),
        "host.pause": (run.started - RECORDING, run.started),
        "kafka.answers.break": (posted - RECORDING, posted + RECORDING),
    }
    return any(_within(bite, *windows[bite.do]) for bite in seen.bites if bite.do in windows)


def _within(bite: Bite, since: float, until: float) -> bool:
    return bite.bit and bite.at <= until and (bite.until or bite.at) >= since


def calls_bounded(seen: Evidence) -> str | None:
    """No host asks queues for more than so many commands and connections a second, also while they are down."""
    asked = seen.moments[-1].asked if seen.moments else {}
    over = [f"{host} ({count})" for host, count in asked.items() if count > MOST_CALLS]
    return _some(over, "hosts hammer at a queue")


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
    "marks-move-on": marks_move_on,
    "settled-once": settled_once,
    "stops-without-room": stops_without_room,
    "calls-bounded": calls_bounded,
}
"""Every check that a scenario can name."""
