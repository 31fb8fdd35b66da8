"""Arbitrary JSON texts: args come through byte for byte, and hash by meaning, numbers by text."""

import json
import random
import re

from hypothesis import assume, given
from hypothesis import strategies as st

from forebay.jobs import (
    InvalidJob,
    JobPost,
    Undecodable,
    canonical_hash,
    decode,
    encode,
    parse_batch,
    parse_post,
    parse_record,
)

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
STRINGS = st.text(st.characters(), max_size=8)


class Num(str):
    """A number by its text, so that a tree can be written in many ways."""

    __slots__ = ()


TREES = st.recursive(
    st.none() | st.booleans() | NUMBERS.map(Num) | STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=12,
)


def spell_string(text, rnd):
    """One of the many ways in which JSON can write a string."""
    out = []
    for char in text:
        units = json.dumps(char)[1:-1] if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
        plain = json.dumps(char, ensure_ascii=False)[1:-1]
        surrogate = 0xD800 <= ord(char) <= 0xDFFF
        choices = [units, units.upper().replace("\\U", "\\u")] + ([] if surrogate else [plain])
        if char == "/":
            choices.append("\\/")
        out.append(rnd.choice(choices))
    return '"' + "".join(out) + '"'


def spell(tree, rnd):
    """One of the many ways in which JSON can write a tree: key order, space, escapes."""

    def space():
        return rnd.choice(["", " ", "\n", "\t\r "])

    if isinstance(tree, Num):
        return str(tree)
    if isinstance(tree, str):
        return spell_string(tree, rnd)
    if isinstance(tree, list):
        items = [space() + spell(item, rnd) + space() for item in tree]
        return "[" + (",".join(items) or space()) + "]"
    if isinstance(tree, dict):
        items = [
            space() + spell_string(key, rnd) + space() + ":" + space() + spell(value, rnd) + space()
            for key, value in tree.items()
        ]
        rnd.shuffle(items)
        return "{" + (",".join(items) or space()) + "}"
    return json.dumps(tree)


def joined_surrogates(tree):
    """True if two lone surrogates stand together: escaped, they would mean one character."""
    if isinstance(tree, list):
        return any(map(joined_surrogates, tree))
    if isinstance(tree, dict):
        return any(joined_surrogates(part) for pair in tree.items() for part in pair)
    return isinstance(tree, str) and bool(re.search("[\ud800-\udbff][\udc00-\udfff]", tree))


@given(TREES, st.integers(), st.integers())
def test_the_hash_is_the_same_however_the_text_is_written(tree, one, other):
    assume(not joined_surrogates(tree))
    texts = [spell(tree, random.Random(seed)).encode() for seed in (one, other)]
    assert canonical_hash("t", texts[0]) == canonical_hash("t", texts[1])


@given(TREES, TREES, st.integers())
def test_the_hash_is_another_for_another_tree(tree, other, seed):
    assume(not joined_surrogates([tree, other]))
    rnd = random.Random(seed)
    texts = [spell(part, rnd).encode() for part in (tree, other)]
    assert (canonical_hash("t", texts[0]) == canonical_hash("t", texts[1])) == same(tree, other)


def same(one, other):
    """Equality that knows 1 from True and a number from a string."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


@given(NUMBERS, NUMBERS)
def test_the_hash_differs_exactly_if_the_number_text_differs(one, other):
    hashes = [canonical_hash("t", f'{{"n":[{text}]}}'.encode()) for text in (one, other)]
    assert (hashes[0] == hashes[1]) == (one == other)


@given(TREES, st.integers())
def test_args_are_byte_exact_from_post_to_record_and_back(tree, seed):
    rnd = random.Random(seed)
    args = spell(tree, rnd).encode()
    body = b'{"type":"t", "args": ' + args + b' ,"key":null}'
    assert parse_post(body).args == args
    assert [item.args for item in parse_batch(b'{"jobs":[' + body + b"," + body + b"]}")] == [args] * 2
    assert decode("jobs", 0, 0, 0, body, ()).args == args
    value, headers = encode(parse_post(body), id_="i", enqueued_at=1)
    assert decode("jobs", 0, 0, 0, value, headers).args == args


@given(TREES, st.integers(), st.data())
def test_any_damage_gives_a_job_or_an_invalid_job_and_valid_json_only(tree, seed, data):
    body = b'{"type":"t","args":' + spell(tree, random.Random(seed)).encode() + b"}"
    at = data.draw(st.integers(0, len(body)))
    cut = data.draw(st.integers(0, 3))
    body = body[:at] + data.draw(st.binary(max_size=3)) + body[at + cut :]
    for parse in (parse_post, parse_record):
        outcome = value_or_error(lambda: parse(body), InvalidJob)  # noqa: B023  # called at once
        if isinstance(outcome, JobPost):
            json.loads(outcome.args.decode("utf-8"), parse_constant=refuse)
            assert outcome.args in body or outcome.args == b"{}"
        else:
            assert outcome.message


def value_or_error(call, expected):
    try:
        return call()
    except expected as error:
        return error


def refuse(name):
    raise AssertionError(f"{name} was let through")


@given(st.binary(max_size=60))
def test_any_bytes_give_a_batch_or_an_invalid_job(body):
    outcome = value_or_error(lambda: parse_batch(body), InvalidJob)
    assert isinstance(outcome, list) or outcome.message


@given(
    st.binary(max_size=40),
    st.lists(
        st.tuples(
            st.sampled_from(["forebay-type", "forebay-id", "forebay-not-before", "other"]),
            st.binary(max_size=8),
        ),
        max_size=4,
    ),
)
def test_any_record_gives_a_job_or_is_undecodable(value, headers):
    outcome = value_or_error(lambda: decode("jobs", 1, 2, 3, value, tuple(headers)), Undecodable)
    if isinstance(outcome, Undecodable):
        assert outcome.reason
    else:
        assert outcome.type
        assert outcome.id
