import json
import time
import tracemalloc

import pytest

from forebay.jobs import (
    InvalidCode,
    InvalidJob,
    JobPost,
    canonical_hash,
    parse_batch,
    parse_post,
    parse_record,
)

# What has been mangled elsewhere by decoding and encoding again (R10).
TRICKY = (
    rb'{ "html":"<b>&\/</b>\u003c", "raw":"' + "é😀".encode() + rb'", "esc":"\u00e9\ud83d\ude00",'
    b'"big":9007199254740993,"neg":-0,"exp":1E+2,"dup":1,"dup":2,\t"lone":"\\ud800" }'
)


def refused(parse, body):
    with pytest.raises(InvalidJob) as caught:
        parse(body)
    return caught.value


def test_args_are_the_posted_bytes():
    assert parse_post(b'{"type":"t", "args" : ' + TRICKY + b"\n}").args == TRICKY


def test_a_megabyte_of_args_is_kept():
    args = b'"' + b"<&>" * 350_000 + b'"'
    assert parse_post(b'{"args":' + args + b',"type":"t"}').args == args


def test_absent_fields_have_documented_defaults():
    assert parse_post(b'{"type":"t"}') == JobPost(type="t", args=b"{}")


def test_null_is_absent_but_for_args():
    body = b'{"type":"t","args":null,"id":null,"dedup":null,"delay":null,"key":null}'
    assert parse_post(body) == JobPost(type="t", args=b"null")


def test_all_fields_are_read():
    body = b'{"type":"t","args":[1],"id":"i","dedup":"d","delay":1.5,"key":"k","shadow":true}'
    expected = JobPost(type="t", args=b"[1]", id="i", dedup="d", delay=1.5, key="k", shadow=True)
    assert parse_post(body) == expected


def test_dedup_true_is_the_canonical_hash():
    body = b'{"dedup":true,"type":"t","args":{"b":1,"a":2}}'
    assert parse_post(body).dedup == canonical_hash("t", b'{"a":2,"b":1}')


def test_dedup_false_is_none():
    assert parse_post(b'{"type":"t","dedup":false}').dedup is None


def test_two_to_the_53_and_its_successor_are_two_jobs():
    bodies = [b'{"type":"t","dedup":true,"args":%d}' % (2**53 + n) for n in (0, 1)]
    assert len({parse_post(body).dedup for body in bodies}) == 2


def test_duplicate_keys_need_a_given_dedup():
    error = refused(parse_post, b'{"type":"t","dedup":true,"args":{"a":1,"a":2}}')
    assert (error.code, error.field) == (InvalidCode.DUPLICATE_KEYS, "dedup")
    assert "args.a" in error.message
    given = parse_post(b'{"type":"t","dedup":"mine","args":{"a":1,"a":2}}')
    assert given.args == b'{"a":1,"a":2}'


def test_the_key_chooses_the_partition_if_there_is_one():
    assert JobPost(type="t").routing_key("the-id") == "the-id"
    assert JobPost(type="t", key="k").routing_key("the-id") == "k"


MALFORMED = [
    b"",
    b" ",
    b"{",
    b'{"type":"t"',
    b'{"type":"t"} x',
    b'{"type":"t",}',
    b"{'type':'t'}",
    b'{"type" "t"}',
    b'{type:"t"}',
    b'{"type":"t","args":NaN}',
    b'{"type":"t","args":{"a":[1,-Infinity]}}',
    b'{"type":"t","args":[1,2}',
    b'{"type":"t","args":{"a":1,}}',
    b'{"type":"t","args":01}',
    b'{"type":"t","args":"\xff"}',
    b'{"type":"t","args":"\xed\xa0\x80"}',
    b'{"type":"t","args":"a\nb"}',
    b'{"type":"t","args":"\\x"}',
    b'{"type":"t","args":}',
    b'\xef\xbb\xbf{"type":"t"}',
    b"\x00",
    b"nul",
]


@pytest.mark.parametrize("body", MALFORMED)
def test_malformed_json_is_told_apart_wherever_it_stands(body):
    assert refused(parse_post, body).code is InvalidCode.MALFORMED
    assert refused(parse_batch, b'{"jobs":[' + body + b"]").code is InvalidCode.MALFORMED


@pytest.mark.parametrize("body", [b"[]", b'"t"', b"1", b"null", b' ["x"] '])
def test_what_is_not_an_object_is_not_a_job(body):
    assert refused(parse_post, body).code is InvalidCode.NOT_OBJECT


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ('"args":{}', InvalidCode.MISSING, "type"),
        ('"type":null', InvalidCode.MISSING, "type"),
        ('"type":""', InvalidCode.WRONG, "type"),
        ('"type":7', InvalidCode.WRONG, "type"),
        ('"type":["t"]', InvalidCode.WRONG, "type"),
        ('"type":"a\\u0000b"', InvalidCode.WRONG, "type"),
        ('"type":"\\ud800"', InvalidCode.WRONG, "type"),
        ('"type":"' + "x" * 201 + '"', InvalidCode.WRONG, "type"),
        ('"type":"t","id":""', InvalidCode.WRONG, "id"),
        ('"type":"t","id":5', InvalidCode.WRONG, "id"),
        ('"type":"t","id":"' + "x" * 201 + '"', InvalidCode.WRONG, "id"),
        ('"type":"t","dedup":5', InvalidCode.WRONG, "dedup"),
        ('"type":"t","dedup":{}', InvalidCode.WRONG, "dedup"),
        ('"type":"t","dedup":""', InvalidCode.WRONG, "dedup"),
        ('"type":"t","delay":-1', InvalidCode.WRONG, "delay"),
        ('"type":"t","delay":"5"', InvalidCode.WRONG, "delay"),
        ('"type":"t","delay":1e999', InvalidCode.WRONG, "delay"),
        ('"type":"t","delay":true', InvalidCode.WRONG, "delay"),
        ('"type":"t","key":[]', InvalidCode.WRONG, "key"),
        ('"type":"t","shadow":1', InvalidCode.WRONG, "shadow"),
        ('"type":"t","shadow":"true"', InvalidCode.WRONG, "shadow"),
        ('"type":"t","Args":[]', InvalidCode.UNKNOWN, "Args"),
        ('"type":"t","not_before":5', InvalidCode.UNKNOWN, "not_before"),
        ('"type":"t","type":"t"', InvalidCode.REPEATED, "type"),
        ('"type":"t","args":1,"args":1', InvalidCode.REPEATED, "args"),
        ('"type":"t","args":' + "[" * 101 + "]" * 101, InvalidCode.TOO_DEEP, None),
    ],
)
def test_a_wrong_field_is_named_alone_and_in_a_batch(fields, code, field):
    body = ("{" + fields + "}").encode()
    error = refused(parse_post, body)
    assert (error.code, error.field) == (code, field)
    before, bad, after = parse_batch(b'{"jobs":[{"type":"a"},' + body + b',{"type":"b"}]}')
    assert (bad.code, bad.field, bad.message) == (code, field, error.message)
    assert (before.type, after.type) == ("a", "b")


def test_a_field_name_of_the_client_comes_back_short_and_printable():
    error = refused(parse_post, json.dumps({"type": "t", "\ud800\n" + "x" * 500: 1}).encode())
    assert len(error.field) < 100
    error.message.encode("utf-8")


def test_a_field_of_the_client_that_is_there_twice_comes_back_short_and_printable():
    name = json.dumps("\ud800\n" + "x" * 500).encode()
    error = refused(parse_record, b'{"type":"t",%b:1,%b:2}' % (name, name))
    assert error.code is InvalidCode.REPEATED
    assert len(error.message) < 200
    error.message.encode("utf-8")


def test_a_batch_keeps_order_and_bytes():
    body = b'{"jobs": [ {"type":"a","args": [1 ,2]} ,{"args":' + TRICKY + b',"type":"b"}]}'
    assert [post.args for post in parse_batch(body)] == [b"[1 ,2]", TRICKY]


def test_an_empty_batch_is_a_batch():
    assert parse_batch(b'{"jobs":[]}') == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", InvalidCode.NOT_OBJECT),
        (b"{}", InvalidCode.MISSING),
        (b'{"jobs":{}}', InvalidCode.WRONG),
        (b'{"jobs":null}', InvalidCode.WRONG),
        (b'{"jobs":[],"more":1}', InvalidCode.UNKNOWN),
        (b'{"jobs":[],"jobs":[]}', InvalidCode.REPEATED),
        (b'{"jobs":' + b"[" * 300 + b"]" * 300 + b"}", InvalidCode.TOO_DEEP),
    ],
)
def test_a_wrong_batch_document_is_refused_as_a_whole(body, code):
    assert refused(parse_batch, body).code is code


def test_of_a_batch_that_is_too_long_one_more_than_the_bound_is_read():
    """G8: what follows is not even looked at, and neither is kept what each bad item would hold."""
    body = b'{"jobs":[' + b"{}," * 300_000 + b"{}]}"
    tracemalloc.start()
    try:
        assert len(parse_batch(body, 1000)) == 1001
        assert tracemalloc.get_traced_memory()[1] < 4 * len(body)
    finally:
        tracemalloc.stop()
    assert len(parse_batch(b'{"jobs":[{},{}]}', 2)) == 2


def test_a_bad_item_of_a_batch_holds_no_frames():
    (bad,) = parse_batch(b'{"jobs":[{}]}')
    assert (bad.code, bad.__traceback__) == (InvalidCode.MISSING, None)


def test_a_batch_with_malformed_json_after_good_items_is_refused_as_a_whole():
    error = refused(parse_batch, b'{"jobs":[{"type":"a"},{"type":"b" "c"}]}')
    assert error.code is InvalidCode.MALFORMED


@pytest.mark.parametrize("depth", [5_000, 500_000])
def test_deep_nesting_is_an_error_and_no_crash(depth):
    body = b'{"type":"t","args":' + b'{"a":' * depth
    for parse in (parse_post, parse_batch, parse_record):
        assert refused(parse, body).code is InvalidCode.TOO_DEEP


@pytest.mark.parametrize("parse", [parse_post, parse_batch, parse_record])
def test_a_string_without_an_end_is_refused_fast(parse):
    """A record is read on the event loop: what takes long there holds up everything else (R6)."""
    body = b'"' + b"[]" * 300 + rb"\"" * 20_000
    begin = time.perf_counter()
    assert refused(parse, body).code is InvalidCode.MALFORMED
    assert time.perf_counter() - begin < 0.5  # measured: about 0.001; it was 12 when each quote began a new search


def test_a_raw_record_may_say_not_before():
    assert parse_record(b'{"type":"t","not_before":1700000000000}').not_before == 1_700_000_000_000


@pytest.mark.parametrize("value", ["-1", "1.5", '"5"', "1e3", "999999999999999", "9" * 5000])
def test_not_before_is_whole_unix_milliseconds(value):
    error = refused(parse_record, b'{"type":"t","not_before":%b}' % value.encode())
    assert (error.code, error.field) == (InvalidCode.WRONG, "not_before")


def test_delay_and_not_before_exclude_each_other():
    error = refused(parse_record, b'{"type":"t","not_before":5,"delay":1}')
    assert error.field == "not_before"
