"""What the roles of one topic's relay say to one another. One fetch is one message, never one message per job.

partition_consumer --Locate--> settled_marks --Located--> partition_consumer
partition_consumer --Pull----> kafka_connection --Pulled | Missed--> partition_consumer
partition_consumer --Take----> rate_limiter --Permits--> partition_consumer
partition_consumer --Write---> redis_writer --BatchWritten | Rewind--> partition_consumer
partition_consumer --CutAt---> redis_writer --Rewind--> partition_consumer
partition_consumer --Progress> kafka_connection
redis_writer, settled_marks --TermRefused--> topic_lock
kafka_connection --MorePartitions--> topic_lock
balancer --HandOver--> topic_lock

A consumer of the retry lane says the same, to the retry topic's connection; towards the writer its partition's number is
that of `jobs.lanes.retry_mark`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import field, frozen

from forebay.actors.exits import EnvironmentExit
from forebay.actors.ref import Ref
from forebay.backends.checkpoints import Checkpoint
from forebay.backends.ports import Extent, ParkedRecord, QueuedJob, Record, Token


class LockLost(EnvironmentExit):
    """topic_lock's exit: the lock is gone or can no longer be trusted; the whole term ends with it."""


class QueueForgot(EnvironmentExit):
    """topic_lock's exit: the queue lost its fence; a new term plants it anew and goes on from the marks."""


class HandedOver(EnvironmentExit):
    """topic_lock's exit: its term has ended in order, and the topic is left to an instance that has room."""


class BrokerGone(EnvironmentExit):
    """kafka_connection's exit: no broker answers, or the client has silently stopped."""


@frozen
class Term:
    """One holder's time with one topic's lock. Immutable: what it says never changes while the term lasts.

    `epoch` names the queue's memory as it was when the fence was planted.
    """

    topic: str
    partitions: int
    token: Token
    session: str
    epoch: str


@frozen
class Locate:
    """Where does this partition go on?"""

    partition: int
    reply_to: Ref[Any]


@frozen
class Located:
    """At `next`; None if the queue has never seen the partition: go on from the log's oldest record.

    `checkpoints` are the mark's.
    """

    next: int | None
    checkpoints: Sequence[Checkpoint] = ()


@frozen
class Pull:
    """Records of one partition from `offset`, at most `max_records`; answered once there are any."""

    partition: int
    offset: int
    max_records: int
    reply_to: Ref[Any]


@frozen
class Pulled:
    """At least one record, in offset order, from a pull at `offset`."""

    partition: int
    offset: int
    records: Sequence[Record] = field(repr=False)


@frozen
class Missed:
    """The offset pulled from lies outside what the log holds."""

    partition: int
    offset: int
    extent: Extent


@frozen
class Take:
    """Permission for `count` jobs, please."""

    count: int
    reply_to: Ref[Any]


@frozen
class Permits:
    """Permission for as many as were asked for."""

    count: int


@frozen
class Write:
    """A contiguous range of one partition, `start` up to but without `to`, as jobs and parked records.

    `records` are those that it was made of; each item has one, at its offset. `begins`: the queue knows nothing of the
    partition yet.
    """

    partition: int
    start: int
    to: int
    items: Sequence[QueuedJob | ParkedRecord] = field(repr=False)
    reply_to: Ref[Any]
    records: Sequence[Record] = field(default=(), repr=False)
    begins: bool = False


@frozen
class BatchWritten:
    """The range is in the queue; the mark stands at `next`."""

    partition: int
    next: int


@frozen
class Rewind:
    """The queue's mark is elsewhere; go on from `next`. Nothing of the range was written."""

    partition: int
    next: int


@frozen
class CutAt:
    """The log is another from `to` on than the one that was read: move the mark back there. Answered by `Rewind`."""

    partition: int
    to: int
    reply_to: Ref[Any]


@frozen
class Progress:
    """All records below `next` are in the queue: to be committed to the log, for lag tools and retention."""

    partition: int
    next: int


@frozen
class MorePartitions:
    """The log has so many partitions of the topic, and the term relays fewer."""

    partitions: int


@frozen
class HandOver:
    """This instance holds more than its share of the topics: end the term in order and leave the topic to another."""

    why: str


@frozen
class TermRefused:
    """The queue refuses this term's token or epoch. `forgot` tells a queue without a fence from a newer term."""

    token: Token
    forgot: bool
    why: str
