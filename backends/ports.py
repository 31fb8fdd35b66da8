"""The contracts that every backend keeps: log, queue, coordination, clock.

One page per service; `tests/contract` holds each sentence here against every adapter. All calls are made from the event
loop's thread and never block it. Every call may raise `Unavailable`; other errors are named where they can occur
(`backends.errors`). Times are Unix milliseconds where they are stored, seconds where they are waited for.

Why jobs are safe between these three is in docs/semantics.md, "Terms and marks".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import field, frozen

from forebay.backends.checkpoints import Checkpoint, Checkpoints
from forebay.backends.ends import End
from forebay.backends.settled import Settled
from forebay.jobs.values import Value

# --- clock


class Clock(Protocol):
    """Time as the runtime sees it; the simulation puts a virtual one in its place."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary instant; never goes back."""

    def wall(self) -> int:
        """Unix time in milliseconds; may jump."""


# --- log

Headers = tuple[tuple[str, bytes], ...]


class Acks(enum.Enum):
    """Who must have a record before it counts as accepted (row G4)."""

    LEADER = "leader"
    ALL = "all"


@frozen
class TopicSpec:
    """A topic as the log must have it. `retention` is in seconds, `max_record` in bytes.

    `acks` is the strongest promise that it must be able to keep; a log that cannot refuses the topic. With `compact` a
    partition's newest record of each key stays for ever, whatever `retention` says, and older ones of that key may go;
    its records need keys.

    `replication` is how many copies a new topic gets, or as many as there are brokers; `min_insync` how many must have a
    record before `Acks.ALL` is answered. A log without replicas has no use for these two.
    """

    name: str
    partitions: int
    retention: float
    max_record: int
    acks: Acks = Acks.LEADER
    compact: bool = False
    replication: int = 3
    min_insync: int = 2


class NewRecord(Value, frozen=True):
    """A record on its way into the log."""

    topic: str
    partition: int
    value: bytes
    key: bytes | None = None
    headers: Headers = ()


class Record(Value, frozen=True):
    """A record as the log holds it. `timestamp` is when the log took it (Unix ms).

    `epoch` says under which leadership of the partition: it grows with each change of leader and never along the offsets
    of one leader, so that two records of one place and epoch are the same. 0 where there is no other leader ever.

    `unreadable` says why the record, which is in the log, cannot be read here, and what to do about it; its bytes, key and
    headers are then missing. Empty for all others.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes
    key: bytes | None = None
    headers: Headers = ()
    epoch: int = 0
    unreadable: str = ""


@frozen
class Extent:
    """What one partition holds: offsets `start` (the oldest kept) up to but without `end`."""

    start: int
    end: int


@frozen
class Want:
    """What a consumer wants of one partition: from `offset`, at most `max_records` records."""

    offset: int
    max_records: int


class LogConnection(Protocol):
    """One client's hold on one topic: reading by explicit position, and re-enqueueing. Owned by `kafka_connection`."""

    async def fetch(self, wants: Mapping[int, Want], wait: float) -> Mapping[int, Sequence[Record] | OutOfRange]:
        """Wait up to `wait` seconds for records of any wanted partition; return what is there, in offset order.

        A partition with nothing new is absent, and so is one that is `held_up`. Offsets are contiguous from `Want.offset`
        but for records that the log itself removed. A position outside the partition's extent gives `OutOfRange` for that
        partition alone. The total is bounded: at most 8 MiB a call, but always at least one record where there is one.

        What was appended with `Acks.LEADER` may come a little after its append was answered: a replicated log gives,
        and counts in an extent, only what its replicas have.
        """

    @property
    def held_up(self) -> Mapping[int, str]:
        """The partitions that the log could not give, though it answered, when last asked for them, and why. Asks nobody."""

    async def extents(self) -> Mapping[int, Extent]:
        """The extent of every partition, asked of the log now; also the liveness probe."""

    async def append(self, records: Sequence[NewRecord], acks: Acks) -> Sequence[int]:
        """Re-enqueue: as `Log.append`."""

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell the log where the relay stands. Advisory: for lag tools and retention, never read to go on from."""

    async def close(self) -> None:
        """Let go, within a bounded time, whatever state the service is in."""


@frozen
class OutOfRange:
    """A wanted position that the partition does not have (any more, or yet)."""

    extent: Extent


class Log(Protocol):
    """An append-only log of partitioned topics."""

    async def start(self) -> None:
        """Open and be ready, or raise. Until then no call is served: it waits, or raises `Unavailable`."""

    async def stop(self) -> None:
        """Close within a bounded time; no thread, task or descriptor is left."""

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        """Create what is missing; a topic never loses partitions. Asking for fewer raises `BackendError`."""

    def offers(self, topic: str) -> Mapping[Acks, str]:
        """Which levels of acks the topic keeps, as its last `ensure` found it (row G4), and what a record has survived
        once that level holds, in words for an answer. Empty for a topic that was not ensured. Asks nobody.
        """

    async def append(self, records: Sequence[NewRecord], acks: Acks) -> Sequence[int]:
        """Append and return each record's offset, in the order given, once `acks` holds: durable before the answer.

        All or an error: `UnknownTopic`, `UnknownPartition` and `RecordTooLarge` are raised before anything is
        written; after `UnknownOutcome` any part may have been written. Concurrent calls share one flush.
        """

    async def connect(self, topic: str) -> LogConnection:
        """A new connection for one topic. Raises `UnknownTopic`."""


# --- queue


@frozen(order=True)
class Token:
    """A fencing token: who may write. Later terms compare greater (design: Terms)."""

    generation: int
    index: int


@frozen
class Mark:
    """How far a partition has come: `next` is the first offset not yet in the queue, `settled` the first not yet ended.

    `checkpoints` are some of the records below `next`, in order of offset: that of the last write, and older ones at
    distances that about double (`checkpoints.extended`); and those beyond it that `restore` was told.
    """

    next: int
    settled: int
    checkpoints: tuple[Checkpoint, ...] = ()


@frozen
class Planted:
    """The fence stands: `epoch` names this queue's memory (a queue that forgot gets a new one), `marks` where to go on."""

    epoch: str
    marks: Mapping[int, Mark]


class QueuedJob(Value, frozen=True):
    """A job as the relay hands it to the queue. `args` are the posted bytes, never re-encoded (R10).

    `enqueued_at` and `not_before` are Unix ms; a job is not claimed before `not_before`. `id` is the instance id,
    `dedup` the dedup id or None. `headers` are kept and handed to the worker.
    """

    offset: int
    id: str
    type: str
    args: bytes
    enqueued_at: int = 0
    not_before: int = 0
    dedup: str | None = None
    headers: Headers = ()


@frozen
class ParkedRecord:
    """A record that can never be a job; kept with its error and bytes where a person can look at it (R6)."""

    offset: int
    error: str
    value: bytes = field(repr=False)
    headers: Headers = ()


@frozen
class Written:
    """The batch is in: `next` is the partition's new mark. `duplicates` were dropped (end `duplicate`),
    `redelivered` were here already under the same instance id, `settled` had ended before the queue forgot.
    """

    next: int
    queued: int
    duplicates: int
    redelivered: int
    parked: int
    settled: int


class JobState(enum.Enum):
    """Where a job stands. DELAYED waits for its first start, RETRYING for its next."""

    PENDING = "pending"
    DELAYED = "delayed"
    RETRYING = "retrying"
    IN_FLIGHT = "in_flight"
    DEAD = "dead"
    PARKED = "parked"


class Claim(Value, frozen=True):
    """A leased job. `epoch` names this lease; only its holder can end the job. `attempt` counts from 1."""

    topic: str
    id: str
    type: str
    epoch: int
    attempt: int
    sequence: int
    args: bytes
    enqueued_at: int = 0
    headers: Headers = ()


@frozen
class Done:
    """The handler finished."""

    id: str
    epoch: int


@frozen
class Retry:
    """The handler failed and may be tried again after `delay` seconds."""

    id: str
    epoch: int
    delay: float
    error: str


@frozen
class Dead:
    """The handler failed for the last time."""

    id: str
    epoch: int
    error: str


@frozen
class Release:
    """Not run, or stopped before it ended: back to pending at once. Its attempt does not count."""

    id: str
    epoch: int


Outcome = Done | Retry | Dead | Release


@frozen
class Lease:
    """Who claims: `worker` names a process's pool for one life, `sequence` grows by one per claim call."""

    worker: str
    sequence: int
    ttl: float


@frozen
class Moved:
    """What promote or reap did: how many jobs, and when the next one is due (Unix ms; None: none waits)."""

    count: int
    next_due: int | None


@frozen
class Counts:
    """Jobs of one topic by state. Exact at one instant."""

    pending: int
    delayed: int
    retrying: int
    in_flight: int
    dead: int
    parked: int

    @property
    def unfinished(self) -> int:
        """Jobs that have not reached an end."""
        return self.pending + self.delayed + self.retrying + self.in_flight


@frozen
class JobView:
    """A job for a person to look at."""

    topic: str
    id: str
    type: str
    state: JobState
    attempt: int
    args: bytes = field(repr=False)
    error: str | None = None
    enqueued_at: int = 0
    due: int | None = None
    partition: int = 0
    offset: int = 0
    headers: Headers = field(default=(), repr=False)
    dedup: str | None = None


class Queue(Protocol):
    """The working set: what is ready, what runs, what waits, what died.

    Partitions of a topic's retry lane have numbers of their own here, those of `jobs.lanes.retry_mark`.

    The relay's side is fenced by `Token`; the workers' side by lease epochs. Each call takes effect whole or not at
    all, is durable (where the backend is) when it returns, and may be repeated after `UnknownOutcome`.
    """

    async def start(self) -> None:
        """Open and be ready, or raise. Until then no call is served: it waits, or raises `Unavailable`."""

    async def stop(self) -> None:
        """Close within a bounded time; waiters in `wait` return."""

    # relay
    async def plant(self, topic: str, token: Token) -> Planted:
        """Install the fence, after the lock was verified. Raises `StaleToken` if a larger token is stored."""

    async def marks(self, topic: str, token: Token) -> Mapping[int, Mark]:
        """The marks of every partition ever written. Raises `StaleToken`, `FenceMissing`."""

    async def write(
        self,
        topic: str,
        token: Token,
        epoch: str,
        partition: int,
        start: int,
        to: int,
        items: Sequence[QueuedJob | ParkedRecord],
        checkpoint: Checkpoint | None = None,
        *,
        begins: bool = True,
    ) -> Written:
        """Write one contiguous range of one partition and move its mark from `start` to `to`, in one step.

        `checkpoint` is the range's last record, and is kept with the mark; None for a range without records. A partition
        without a mark accepts any `start` of a range that `begins` it.

        Raises, with nothing written: `StaleToken`, `FenceMissing` (no fence, another epoch, no mark where one must be),
        `MarkMismatch`, `Full`, `JobTooLarge`; after any other `BackendError` the mark has not moved. Same instance id
        again: the hold moves to the new offset. Another one with the same dedup id: dropped while the first is pending,
        delayed or retrying; while it is in flight one successor is queued, to run after it. What `restore` told is skipped.
        """

    async def settled(self, topic: str, token: Token) -> Mapping[int, Settled]:
        """Which offsets of every partition ever written have ended, each partition as of one instant.

        It may tell of fewer than have (of at most `SPAN` above the low mark; the adapter may say less), never of more: an
        end is never taken back, but by `rewind`. Raises `StaleToken`, `FenceMissing`.
        """

    async def restore(
        self,
        topic: str,
        token: Token,
        epoch: str,
        settled: Mapping[int, Settled],
        checkpoints: Checkpoints | None = None,
    ) -> None:
        """Let partitions that were never written begin where an earlier memory of this queue stood: both marks at `low`,
        and what has ended above it will be skipped by `write`; with its checkpoints, also those beyond the mark. A partition
        that has a mark is left as it is.

        Raises `StaleToken`, `FenceMissing` (no fence, or another epoch). Works while the queue is full.
        """

    async def rewind(self, topic: str, token: Token, epoch: str, partition: int, to: int) -> None:
        """Move the mark back to `to`: the log was cut there, and holds other records from there on, or none yet.

        What is known of the offsets from `to` on is void: checkpoints, and which have ended. Jobs that came from there stay,
        and hold no offset any more. A mark that is at `to` or below it is left as it is. Raises `StaleToken`,
        `FenceMissing` (no fence, or another epoch). Works while the queue is full.
        """

    async def unwritten(self, topic: str, token: Token, limit: int) -> Sequence[End]:
        """Jobs that died and records that were parked since, and are not in the log's `<topic>.ends`: the oldest `limit` of
        them, fewer where these have more than 1 MiB, but at least one. Until they are `written` their offsets are unsettled.

        A dead job that is resubmitted goes on holding its offset and is not told of any more; what is discarded is settled.
        Raises `StaleToken`, `FenceMissing`.
        """

    async def written(self, topic: str, token: Token, ends: Sequence[End]) -> None:
        """The log has these: settle their offsets. What has changed since it was told of is left as it is.

        Raises `StaleToken`, `FenceMissing`. Works while the queue is full.
        """

    async def headroom(self) -> float:
        """Free share of the memory limit, 0 to 1; 1 where there is no limit."""

    # workers
    async def claim(self, topic: str, lease: Lease, limit: int) -> Sequence[Claim]:
        """Lease up to `limit` pending jobs, oldest first. The same (worker, sequence) again returns the same claims."""

    async def renew(self, topic: str, worker: str, received: int, ttl: float) -> frozenset[tuple[str, int]]:
        """Renew the worker's lease as a whole; return the (id, epoch) it still holds.

        `received` is the last sequence whose answer arrived: later claims of this worker go back to pending.
        """

    async def end(self, topic: str, worker: str, outcomes: Sequence[Outcome]) -> Sequence[bool]:
        """Record outcomes; False where the epoch is no longer the job's lease (nothing is changed for that one)."""

    async def promote(self, topic: str, limit: int) -> Moved:
        """Move delayed and retrying jobs whose time has come to pending."""

    async def reap(self, topic: str, limit: int) -> Moved:
        """Move in-flight jobs whose worker's lease has lapsed to pending, with a new epoch to come."""

    async def wait(self, topics: Sequence[str], timeout: float) -> bool:
        """Return True as soon as a claim of one of the topics may succeed, False after `timeout` seconds. No polling."""

    # people
    async def counts(self, topic: str) -> Counts:
        """How many jobs are in which state."""

    async def browse(self, topic: str, state: JobState, limit: int, after: str = "") -> Sequence[JobView]:
        """Jobs in one state, by id, those greater than `after`; a parked record's is `<topic>/<partition>/<offset>`."""

    async def find(self, topic: str, ids: Sequence[str]) -> Sequence[JobView]:
        """The jobs and parked records with these ids, whatever their state, in that order; what is not there is left out."""

    async def resubmit(self, topic: str, ids: Sequence[str]) -> int:
        """Dead jobs that hold their offsets to pending, with a fresh attempt count; returns how many.

        One whose end was `written` holds none, and would be gone with a queue that forgets: it is left, to be brought again
        through the log, and `retire`d.
        """

    async def retire(self, topic: str, ids: Sequence[str]) -> int:
        """Remove dead jobs that hold no offset, as a record in the log brings them again; returns how many.

        One that holds an offset is left: that record was here already.
        """

    async def discard(self, topic: str, ids: Sequence[str]) -> int:
        """Remove dead or parked jobs for good; returns how many."""


# --- coordination


@frozen
class Entry:
    """A key as coordination holds it. `modify_index` grows with every change of the key and is never reset."""

    key: str
    value: bytes
    modify_index: int
    session: str | None


class Coordination(Protocol):
    """Locks and small watched values, with sessions that lapse when they are not renewed."""

    async def start(self) -> None:
        """Open and be ready, or raise. Until then no call is served: it waits, or raises `Unavailable`."""

    async def stop(self) -> None:
        """Close within a bounded time; watchers return or raise `Unavailable`."""

    async def create_session(self, name: str, ttl: float, lock_delay: float) -> str:
        """A session that lapses `ttl` to 2 x `ttl` seconds after its last renewal; its locks are then released, and a
        key so released cannot be acquired for `lock_delay` seconds.
        """

    async def renew_session(self, session: str) -> None:
        """Raises `SessionGone`."""

    async def destroy_session(self, session: str) -> None:
        """End it and release what it holds, with no lock delay if it held nothing. Absent is fine."""

    async def acquire(self, key: str, session: str, value: bytes) -> bool:
        """Take the lock if it is free and out of its lock delay. Raises `SessionGone`."""

    async def release(self, key: str, session: str) -> bool:
        """Give the lock back; the next one may take it at once. False if `session` does not hold it."""

    async def get(self, key: str) -> Entry | None:
        """The key as it is now (a consistent read)."""

    async def under(self, prefix: str) -> Sequence[Entry]:
        """Every key that begins with `prefix`, in the order of the keys, as they are now (a consistent read)."""

    async def put(self, key: str, value: bytes) -> None:
        """Set a value; a lock on the key is left as it is."""

    async def delete(self, key: str) -> None:
        """Remove the key, whoever holds it."""

    async def watch(self, key: str, index: int, wait: float) -> tuple[Entry | None, int]:
        """Return the key and an index as soon as they differ from `index`, or after `wait` seconds as they are.

        Start with index 0, which returns at once; then pass the index of the last answer.
        """
