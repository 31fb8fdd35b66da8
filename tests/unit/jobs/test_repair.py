"""Records that were parked, made anew (R6, R10)."""

from functools import partial

import pytest

from forebay.jobs import JobPost, Undecodable, decode, encode, encode_again
from forebay.jobs.repair import Parked, again

RAW = b'{ "a":"</b>&\\/ \\u00e9", "n":9007199254740993, "z":-0,"a":1 }'
TRACE = ("trace", b"\xff")


def parked(value, headers=()):
    return Parked("jobs", 3, 7, 500, value, headers)


def read(value, headers):
    return decode("jobs", 3, 90, 9000, value, headers)


def test_a_job_is_the_same_instance_with_the_same_bytes_and_a_fresh_count():
    post = JobPost(type="t", args=RAW, dedup="d", key="k", not_before=77)
    job = read(*encode(post, id_="i", enqueued_at=5, headers=(TRACE,)))
    twice = encode_again(read(*encode_again(job, "it broke", 77)), "and again", 77)
    value, headers = again(parked(*twice))
    assert value == RAW
    assert (value, sorted(headers)) == (job.args, sorted(encode(post, id_="i", enqueued_at=5, headers=(TRACE,))[1]))


def test_a_raw_record_keeps_the_id_and_the_time_of_its_first_place():
    job = read(*again(parked(b'{"type": "t", "args": ' + RAW + b"}", (TRACE,))))
    assert (job.id, job.enqueued_at, job.args, job.headers) == ("jobs/3/7", 500, RAW, (TRACE,))


def test_arguments_are_replaced_byte_for_byte_and_the_rest_stays():
    old = encode(JobPost(type="t", args=b"{broken", key="k"), id_="i", enqueued_at=5)
    job = read(*again(parked(*old), args=RAW))
    assert (job.args, job.type, job.id, job.key, job.enqueued_at) == (RAW, "t", "i", "k", 5)


def test_a_type_is_replaced_and_the_bytes_stay():
    for record in (
        encode(JobPost(type="tpyo", args=RAW), id_="i", enqueued_at=5),
        (b'{"type":"tpyo","args":' + RAW + b"}", ()),
    ):
        job = read(*again(parked(*record), type_="t"))
        assert (job.type, job.args) == ("t", RAW)


def test_a_record_that_is_no_document_gets_type_and_arguments():
    change = partial(again, parked(b"\xff{not json", (TRACE,)))
    job = read(*change(type_="t", args=b"[1]"))
    assert (job.type, job.args, job.id, job.headers) == ("t", b"[1]", "jobs/3/7", (TRACE,))
    for given, missing in (({"type_": "t"}, "args"), ({"args": b"[1]"}, "type")):
        with pytest.raises(Undecodable, match=f"does not tell its {missing}, so give both"):
            change(**given)


@pytest.mark.parametrize("bad", [("forebay-not-before", b"soon"), ("forebay-id", b""), ("forebay-attempt", b"x")])
def test_a_header_of_ours_that_cannot_be_read_is_left_out_once_something_is_given(bad):
    record = parked(b"{}", (("forebay-type", b"t"), ("forebay-key", b"k"), bad))
    with pytest.raises(Undecodable, match=bad[0]):
        again(record)
    job = read(*again(record, type_="t"))
    assert (job.key, job.not_before, job.attempt) == ("k", 0, 0)
    assert job.id == "jobs/3/7"


def test_of_a_header_that_is_there_twice_the_first_stays():
    record = parked(b"{}", (("forebay-type", b"a"), ("forebay-type", b"b"), ("forebay-key", b"k")))
    job = read(*again(record, args=b"[2]"))
    assert (job.type, job.args, job.key) == ("a", b"[2]", "k")


@pytest.mark.parametrize("args", [b"", b"{", b"1 2", b'{}, "key": "k"', b"\xff"])
def test_arguments_that_are_not_one_json_value_are_refused(args):
    with pytest.raises(Undecodable, match="args must be one JSON value"):
        again(parked(b'{"type": "t"}'), args=args)


def test_a_type_that_is_none_is_refused():
    with pytest.raises(Undecodable, match="forebay-type"):
        again(parked(b"{}", (("forebay-type", b"t"),)), type_="")
