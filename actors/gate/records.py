"""From a post to the record that carries the job: its id, its topic, its partition (row G2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from forebay.actors.gate.messages import record_size
from forebay.backends.errors import RecordTooLarge, UnknownTopic
from forebay.backends.ports import Acks, Headers, NewRecord
from forebay.config import TopicConfig
from forebay.jobs import JobPost, encode, partition_of


@frozen
class JobRecord:
    """A job ready for the log. `acks` are its topic's."""

    id: str
    record: NewRecord
    acks: Acks


def record_for(
    post: JobPost,
    *,
    topic: str,
    topics: Sequence[TopicConfig],
    now: int,
    new_id: Callable[[], str],
    headers: Headers = (),
) -> JobRecord:
    """The record of a post that is accepted at `now` (Unix ms).

    `new_id` makes the instance id of a post that brings none; `headers` go with the job. Raises `UnknownTopic` and
    `RecordTooLarge`.
    """
    place = topic_named(topic, topics)
    id_ = post.id or new_id()
    value, own = encode(post, id_=id_, enqueued_at=now, headers=headers)
    record = NewRecord(topic, partition_of(post.routing_key(id_), place.partitions), value, None, own)
    size = record_size(record)
    if size > place.max_record:
        raise RecordTooLarge(size, place.max_record)
    return JobRecord(id_, record, Acks(place.acks))


def topic_named(name: str, topics: Sequence[TopicConfig]) -> TopicConfig:
    """The topic of that name. Raises `UnknownTopic`."""
    found = next((topic for topic in topics if topic.name == name), None)
    if found is None:
        raise UnknownTopic(name)
    return found
