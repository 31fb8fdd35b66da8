"""Checks by name: each looks at the evidence as it is at one moment, and says what is wrong, or None.

`always` runs them at every moment of a run, `eventually` after the healing, until they hold and at the end. The names are
those of the design's invariants where it has one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from forebay.actors.events import Noted, Zombie
from forebay.actors.snapshot import Node, State
from forebay.scenarios.replay.duplicates import CUT, RECORDING, SNAPSHOT_SLACK, duplicates_explained, within
from forebay.scenarios.replay.evidence import Evidence, Run, Write
from forebay.scenarios.replay.examples import some
from forebay.scenarios.replay.leases import clean_stop, dead_after_its_tries, one_lease

Check = Callable[[Evidence], str | None]

ON_THE_WAY: Final = 3
"""Ranges of a partition that may still come when the queue has no room: of one term, of the next, and one more."""

PIECES: Final = 5.0
"""Seconds for which a range that a queue refused may still come in pieces, once it takes all jobs again."""

MOST_CALLS: Final = 800
"""What a host may ask queues for between two looks, a second apart: more than a scenario of 100 jobs a second needs."""


def nothing_lost(seen: Evidence) -> str | None:
    """Every job that got a positive answer has an end, and so has every other that is in the log; only what the log itself
    lost under the leader's acks has none.
    """
    left = [id_ for id_ in seen.unended() if not seen.excused(id_)]
    return some(left, f"of {len(seen.accepted)} accepted jobs and {len(seen.written)} others in the log have no end")


def refused_not_taken(seen: Evidence) -> str | None:
    """No job of which every post had a clear no is in the log, or runs."""
    taken = seen.turned_away & (seen.written | {run.id for run in seen.runs})
    return some(sorted(taken), "jobs that were refused were taken all the same")


def nothing_gone(seen: Evidence) -> str | None:
    """The log lost no record that was accepted, not even under the leader's acks."""
    return some(sorted(seen.gone & seen.accepted.keys()), "accepted jobs are not in the log any more")


def acks_all_kept(seen: Evidence) -> str | None:
    """The log lost no record that was accepted with the acks of all in-sync replicas."""
    left = sorted(id_ for id_ in seen.gone if id_ in seen.accepted and seen.accepted[id_].acks == "all")
    return some(left, "jobs accepted with acks: all are not in the log any more")


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
    return some(sorted({run.id for run in seen.runs if not run.intact}), "jobs came with other bytes than were posted")


def mailboxes_bounded(seen: Evidence) -> str | None:
    """No mailbox holds, or has held since its process began, more than its capacity."""
    over = [
        f"{host}{node.path} ({most} of {node.mailbox.capacity})"
        for host, node in _nodes(seen)
        if node.mailbox is not None and (most := max(node.mailbox.depth, node.mailbox.high_water)) > node.mailbox.capacity
    ]
    return some(over, "mailboxes are over their capacity")


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
    return some(down, "places of the trees do not run")


def no_zombie(seen: Evidence) -> str | None:
    """No task outlived its actor."""
    return some(
        [f"{host}{event.path}" for host, event in seen.events if isinstance(event, Zombie)], "tasks outlived their actors"
    )


def no_duplicates(seen: Evidence) -> str | None:
    """No job was finished twice."""
    return some([id_ for id_, times in seen.finished().items() if times > 1], "jobs were finished more than once")


def marks_move_on(seen: Evidence) -> str | None:
    """Within one memory of the queue no range is written twice; only lost data or a cut log move marks back."""
    reached: dict[tuple[str, str, int], Write] = {}
    for write in seen.writes:
        place = write.topic, write.epoch, write.partition
        last = reached.get(place)
        if last is not None and write.start < last.to and not any(last.at <= at <= write.at for at in seen.losses):
            where = f"{write.start} to {write.to} of {write.topic}/{write.partition} at {write.at:.3f} s"
            if write.start < write.to:
                return f"{write.host} wrote {where}, where the mark had reached {last.to} at {last.at:.3f} s"
            if not any(bite.do in CUT and bite.bit and bite.at <= write.at for bite in seen.bites):
                return f"{write.host} moved the mark back, {where}, from {last.to}; nothing had cut the log"
        reached[place] = write
    return None


def stops_without_room(seen: Evidence) -> str | None:
    """While a queue has no room, and the relay could know it, it stops: what was on its way comes, and no more.

    What comes while a queue refuses single jobs does not count: what is on its way comes in pieces then.
    """
    refusing = [
        (bite.at, (math.inf if bite.until is None else bite.until) + PIECES)
        for bite in seen.bites
        if bite.do == "redis.refuse" and bite.bit
    ]
    written = Counter(
        (write.topic, write.partition, write.spell)
        for write in seen.writes
        if write.spell and write.to > write.start and not any(at <= write.at <= until for at, until in refusing)
    )
    over = [f"{topic}/{partition} ({count})" for (topic, partition, _), count in written.items() if count > ON_THE_WAY]
    return some(over, "partitions were written to again and again while their queue had no room")


def settled_once(seen: Evidence) -> str | None:
    """What a snapshot in the log says has ended is not run again, whatever the queue forgets; but for a failover that took
    the end back, a job that is in the log twice, a host that stood still between taking a job and running it, and a queue
    that was given back what it knew before the snapshot could be read: a replica in sync lacked it.
    """
    again = [
        run.id
        for run in seen.runs
        if run.started > seen.settled.get(run.id, run.started) + RECORDING
        and run.id not in seen.again
        and not seen.comes_twice(run.id)
        and not _taken_back(seen, run)
        and not _given_back_before(seen, run)
    ]
    return some(again, "jobs ran though a snapshot says that they had ended")


def _taken_back(seen: Evidence, run: Run) -> bool:
    """Whether a fault lets a job run that had ended: see `settled_once`."""
    posted, settled = seen.accepted[run.id].at, seen.settled[run.id]
    windows = {
        "redis.failover": (settled - SNAPSHOT_SLACK, run.started),
        "host.pause": (run.started - RECORDING, run.started),
        "kafka.answers.break": (posted - RECORDING, posted + RECORDING),
    }
    return any(within(bite, *windows[bite.do]) for bite in seen.bites if bite.do in windows)


def _given_back_before(seen: Evidence, run: Run) -> bool:
    """Whether the queue's memory is one that was given back what there was, or found nothing, after the job had ended, and
    before readers saw the snapshot.
    """
    job, settled = seen.accepted[run.id], seen.settled[run.id]
    ended = min(
        (other.ended for other in seen.runs if other.id == run.id and other.ended is not None and not other.failed),
        default=settled,
    )
    notes = [
        event
        for _, event in seen.events
        if isinstance(event, Noted) and event.at < run.started and f"relay[{job.topic}]" in event.path
    ]
    restored = [e.at for e in notes if e.name == "restored" and dict(e.fields)["partition"] == job.partition]
    if restored and ended < max(restored) < settled:
        return True
    lost = max((at for at in seen.losses if at < run.started), default=-math.inf)
    begun = min((e.at for e in notes if e.name == "term_begins" and e.at >= lost), default=math.inf)
    return ended < lost and begun < settled


def calls_bounded(seen: Evidence) -> str | None:
    """No host asks queues for more than so many commands and connections a second, also while they are down."""
    asked = seen.moments[-1].asked if seen.moments else {}
    over = [f"{host} ({count})" for host, count in asked.items() if count > MOST_CALLS]
    return some(over, "hosts hammer at a queue")


def _nodes(seen: Evidence) -> Iterator[tuple[str, Node]]:
    trees = seen.moments[-1].trees if seen.moments else {}
    for host, tree in trees.items():
        for node in () if tree is None else tree.walk():
            yield host, node


CHECKS: Final[Mapping[str, Check]] = {
    "nothing-lost": nothing_lost,
    "refused-not-taken": refused_not_taken,
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
    "one-lease": one_lease,
    "clean-stop": clean_stop,
    "dead-after-its-tries": dead_after_its_tries,
}
"""Every check that a scenario can name."""

SIMULATED: Final = frozenset(
    {"one-lease", "clean-stop", "dead-after-its-tries", "calls-bounded", "stops-without-room", "settled-once"}
)
"""Checks of what only the simulation shows: on real servers they would hold whatever happened."""
