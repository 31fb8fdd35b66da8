"""Batches as brokers send them, also those that cannot be read here (R4, R6)."""

import struct
from zlib import crc32

import pytest
from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from forebay.backends.kafka.unpack import Answer

PLAIN, GZIP, LZ4, NONE_SUCH = 0, 1, 3, 6
_BASE = struct.Struct(">q")
_CRC, _ATTRIBUTES, _RECORDS = 17, 21, 61  # where they begin in a batch


def batch(begin, count, compression=PLAIN):
    builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1 << 20)
    for index in range(count):
        builder.append(index, 77, None, f"v{begin + index}".encode(), [])
    return _BASE.pack(begin) + bytes(builder.build())[_BASE.size :]


def altered(data, place, value, crc=True):
    """The batch with other bytes at `place`, and a checksum that says that they are right."""
    changed = bytearray(data)
    changed[place : place + len(value)] = value
    if crc:
        changed[_CRC : _CRC + 4] = struct.pack(">I", calc_crc32c(memoryview(changed)[_ATTRIBUTES:]))
    return bytes(changed)


def read(begin, *batches):
    answer = Answer("jobs", 2, b"".join(batches), (), begin)
    return list(answer), answer


def shown(records):
    return [record.value.decode() or "?" for record in records]


def unreadable(name):
    if name == "codec":
        return altered(batch(3, 4), _ATTRIBUTES, struct.pack(">h", NONE_SUCH))
    if name == "compressed data":
        return altered(batch(3, 4, GZIP), _RECORDS + 12, b"\xff" * 8)
    if name == "header's text":
        return altered(batch(3, 4), _RECORDS, b"\xff" * 8)
    return altered(batch(3, 4), 57, struct.pack(">i", 9))  # more records than there are


def test_what_lies_in_whole_batches_from_the_offset_on_is_read():
    records, answer = read(1, batch(0, 3), batch(3, 2, GZIP), batch(5, 2)[:-1])
    assert shown(records) == ["v1", "v2", "v3", "v4"]
    assert answer.next == 5
    assert not any(record.unreadable for record in records)


@pytest.mark.parametrize("name", ["codec", "compressed data", "header's text"])
def test_each_record_of_a_batch_that_cannot_be_read_is_told_by_its_place_and_its_neighbours_are_read(name):
    records, answer = read(0, batch(0, 3), unreadable(name), batch(7, 1))
    assert shown(records) == ["v0", "v1", "v2", "?", "?", "?", "?", "v7"]
    assert [record.offset for record in records] == list(range(8))
    assert answer.next == 8
    (why,) = {record.unreadable for record in records[3:7]}
    assert "this batch of 3 to 6 cannot be read here" in why


def test_a_batch_that_breaks_off_in_its_midst_gives_what_came_before():
    records, answer = read(4, unreadable("count"), batch(7, 1))
    assert shown(records) == ["v4", "v5", "v6", "v7"]
    assert answer.next == 8


def test_what_tells_of_a_codec_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(codec, "cramjam", None)
    records, _ = read(3, altered(batch(3, 2), _ATTRIBUTES, struct.pack(">h", LZ4)))
    assert "lz4" in records[0].unreadable
    assert "3 to 4" in records[0].unreadable
    assert "pip install 'aiokafka[lz4,snappy,zstd]'" in records[0].unreadable


def test_a_batch_of_the_old_format_that_cannot_be_read_is_told_by_its_places_too():
    builder = LegacyRecordBatchBuilder(1, GZIP, 1 << 20)
    for index in range(3):
        builder.append(index, 77, None, b"old")
    built = _BASE.pack(2) + bytes(builder.build())[_BASE.size :]  # as a broker stamps it: by its last record
    assert shown(read(0, built)[0]) == ["old"] * 3
    spoilt = bytearray(built)
    spoilt[-12:-4] = b"\xff" * 8
    spoilt[12:16] = struct.pack(">I", crc32(spoilt[16:]))
    records, answer = read(0, bytes(spoilt), batch(3, 1))
    assert shown(records) == ["?", "?", "?", "v3"]
    assert answer.next == 4


def test_a_batch_that_fails_its_checksum_is_not_believed_about_its_length_and_is_passed_one_offset_at_a_time():
    damaged = altered(batch(3, 4), _RECORDS + 3, b"\xff", crc=False)
    records, answer = read(2, batch(0, 3), damaged, batch(7, 1))
    assert shown(records) == ["v2", "?"]
    assert answer.next == 4
    assert "fails its checksum" in records[1].unreadable
    assert shown(read(4, damaged, batch(7, 1))[0]) == ["?"]


def test_a_batch_of_a_format_that_is_none_is_passed_one_offset_at_a_time():
    damaged = altered(batch(3, 4), 8, struct.pack(">i", 2), crc=False)
    records, answer = read(0, batch(0, 3), damaged)
    assert shown(records) == ["v0", "v1", "v2", "?"]
    assert answer.next == 4
