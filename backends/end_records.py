"""How the log's topic `<topic>.ends` keeps a dead job or a parked record.

Key: the id. Value: the job's arguments or the record's bytes, as they are. Headers: ours, then those that it had.

| header               | value                                                         |
|----------------------|---------------------------------------------------------------|
| `forebay-end`        | `dead` or `parked`                                            |
| `forebay-ended-at`   | Unix ms                                                       |
| `forebay-error`      | why                                                           |
| `forebay-attempts`   | how often a handler had it; 0 of a parked record              |
| `forebay-offset`     | its place in the log, `<topic>/<partition>/<offset>`          |
| `forebay-type`       | a dead job's type; a parked record keeps its own header, if any |

The first header of a name is ours: a parked record may have brought any of them.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve, field, frozen

from forebay.backends.ends import End
from forebay.backends.parked import parked_id
from forebay.backends.ports import Headers, NewRecord, Record, TopicSpec
from forebay.jobs.envelope import ERROR, MAX_ERROR, TYPE
from forebay.jobs.lanes import ends_topic, log_place

END: Final = "forebay-end"
ENDED_AT: Final = "forebay-ended-at"
ATTEMPTS: Final = "forebay-attempts"
OFFSET: Final = "forebay-offset"


def ends_spec(topic: TopicSpec) -> TopicSpec:
    """Return the topic of ends as the log must have it: as the topic itself."""
    return evolve(topic, name=ends_topic(topic.name))


def end_record(topic: str, end: End) -> NewRecord:
    """Return the record of an end with all that it has."""
    return _record(topic, end, end.error, end.value, end.headers)


def place_record(topic: str, end: End) -> NewRecord:
    """Return the record of an end that is too large for the log: its place there and the first of its error, no bytes."""
    return _record(topic, end, end.error[:MAX_ERROR], b"", ())


def _record(topic: str, end: End, error: str, value: bytes, headers: Headers) -> NewRecord:
    texts = {
        END: end.kind,
        ENDED_AT: str(end.at),
        ERROR: error,
        ATTEMPTS: str(end.attempt),
        OFFSET: parked_id(topic, end.partition, end.offset),
    }
    if end.type:
        texts[TYPE] = end.type
    ours = tuple((name, text.encode("utf-8", "backslashreplace")) for name, text in texts.items())
    partition = log_place(topic, end.partition)[1]
    return NewRecord(ends_topic(topic), partition, value, end.id.encode(), (*ours, *headers))


@frozen
class WrittenEnd:
    """An end as the log has it. `place` is where its own record lies, or lay; `at` is Unix ms."""

    kind: str
    id: str
    type: str
    attempt: int
    error: str
    place: str
    at: int
    value: bytes = field(repr=False)


def read_end(record: Record) -> WrittenEnd | None:
    """Return the end that a record is about; None for a record that is none of ours."""
    texts = {name: value.decode("utf-8", "backslashreplace") for name, value in reversed(record.headers)}
    try:
        attempt, at = int(texts[ATTEMPTS]), int(texts[ENDED_AT])
        kind, place = texts[END], texts[OFFSET]
    except (KeyError, ValueError):
        return None
    id_ = (record.key or b"").decode("utf-8", "backslashreplace")
    return WrittenEnd(kind, id_, texts.get(TYPE, ""), attempt, texts.get(ERROR, ""), place, at, record.value)
