"""Ends other than done as the scripts `unwritten` and `written` have them; ends.lua says how Redis keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forebay.backends.ends import End
from forebay.backends.redis.codec import Word, unpack_body, unpack_parked
from forebay.backends.redis.record import read_record


def end_of(row: Sequence[bytes]) -> End:
    """One row of the answer of `unwritten.lua`."""
    kind, id_, at, text, packed = row
    if kind == b"p":
        parked = unpack_parked(packed.partition(b" ")[2])
        place = (parked.partition, parked.offset)
        return End("parked", id_.decode(), "", *place, 0, parked.error, int(at), parked.value, parked.headers)
    record, body = read_record(text), unpack_body(packed)
    place = (record.partition, record.offset)
    return End("dead", id_.decode(), body.type, *place, record.attempt, record.error, int(at), body.args, body.headers)


def end_words(ends: Sequence[End]) -> Iterator[Word]:
    """Ends as `written.lua` takes them: kind, id, time."""
    for one in ends:
        yield from (one.kind[0], one.id, one.at)
