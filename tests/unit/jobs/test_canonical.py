import re
import time

import pytest

from forebay.jobs import DuplicateKeys, NotJson, TooDeep, canonical, canonical_hash
from forebay.jobs.canonical import canonical_text
from forebay.jobs.json_text import parse


def same(one, other):
    return canonical_hash("t", one) == canonical_hash("t", other)


def test_the_published_vectors_hold():
    line = re.compile(r"^ +(\S.*?) {2,}(\[\"t\",.*?) {2,}([0-9a-f]{32})$", re.MULTILINE)
    vectors = line.findall(canonical.__doc__)
    assert len(vectors) == 4
    for args, text, digest in vectors:
        assert canonical_text("t", parse(args)) == text.encode()
        assert canonical_hash("t", args.encode()) == digest


def test_key_order_and_white_space_do_not_matter():
    assert same(b'{"a":1,"b":[2,3]}', b' { "b" : [ 2,\n3 ] ,\t"a" : 1 } ')


def test_escapes_do_not_matter():
    assert same(rb'"\u00e9\/\u003c\ud83d\ude00\n"', '"é/<😀\\u000a"'.encode())


def test_unicode_is_not_normalised():
    assert not same('"é"'.encode(), '"e\u0301"'.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"9007199254740992", b"9007199254740993"),
        (b"1", b"1.0"),
        (b"1.0", b"1e0"),
        (b"0", b"-0"),
        (b"1e400", b"1e401"),
        (b'"1"', b"1"),
        (b"[]", b"{}"),
        (b"[1,[2]]", b"[[1],2]"),
        (b"null", b'"null"'),
        (b"true", b"1"),
        (b'{"a":null}', b"{}"),
        (rb'"\ud800"', rb'"\\ud800"'),
    ],
)
def test_what_differs_as_text_is_two_jobs(one, other):
    assert not same(one, other)


def test_the_type_is_part_of_the_hash():
    assert canonical_hash("a", b"{}") != canonical_hash("b", b"{}")
    assert canonical_text('a",1', parse("2")) == b'["a\\",1",2]'


def test_keys_sort_by_code_point_also_beyond_the_basic_plane():
    text = canonical_text("t", parse('{"\U0001f600":1,"\uffff":2,"\\ud800":3}'))
    assert text == '["t",{"\\ud800":3,"\uffff":2,"\U0001f600":1}]'.encode()


@pytest.mark.parametrize(
    ("args", "path"),
    [
        (b'{"a":1,"a":1}', "args.a"),
        (rb'{"a":1,"\u0061":2}', "args.a"),
        (b'{"x":[0,{"y":{"k":1,"k":2}}]}', "args.x[1].y.k"),
    ],
)
def test_duplicate_keys_are_refused_with_their_path(args, path):
    with pytest.raises(DuplicateKeys) as caught:
        canonical_hash("t", args)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "args",
    [
        b"",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"01",
        b"1 2",
        b'"\xff"',
        b"'a'",
        b"[1,]",
        b'"\n"',
        b"\xef\xbb\xbf1",
        b"+1",
        b".5",
        b"1.",
    ],
)
def test_what_is_not_json_is_refused(args):
    with pytest.raises(NotJson):
        canonical_hash("t", args)


def test_a_hundred_levels_are_the_documented_limit():
    canonical_hash("t", b"[" * 100 + b"]" * 100)
    canonical_hash("t", b'["[[[[[[[[[\\"[[[[", ' * 99 + b"{}" + b"]" * 99)
    with pytest.raises(TooDeep, match="100"):
        canonical_hash("t", b'{"a":' * 101 + b"1" + b"}" * 101)


@pytest.mark.parametrize("depth", [1_000, 1_000_000])
def test_any_depth_gives_an_error_and_no_crash(depth):
    with pytest.raises(TooDeep):
        canonical_hash("t", b"[" * depth)


def test_numbers_of_any_length_are_hashed_by_their_text():
    assert not same(b"1" * 10_000, b"1" * 10_001)


def test_a_megabyte_of_text_is_hashed_fast():
    args = b'"' + b"\\n" * 250_000 + "é".encode() * 250_000 + b'"'
    begin = time.perf_counter()
    canonical_hash("t", args)
    assert time.perf_counter() - begin < 0.5  # measured: about 0.01
