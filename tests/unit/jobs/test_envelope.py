import pytest

from forebay.jobs import JobPost, Undecodable, decode, encode, encode_again, parse_post

TRACE = ("traceparent", b"00-ab-cd-01")


def record(value, headers=(), timestamp=1000):
    return decode("jobs", 3, 42, timestamp, value, headers)


def test_the_value_is_args_alone_and_all_else_is_in_headers():
    post = parse_post(b'{"type":"t","args": [ 1 ],"dedup":"d","key":"k","delay":0.0015}')
    value, headers = encode(post, id_="the-id", enqueued_at=500, headers=(TRACE,))
    assert value == b"[ 1 ]"
    assert dict(headers) == {
        "forebay-type": b"t",
        "forebay-id": b"the-id",
        "forebay-enqueued-at": b"500",
        "forebay-dedup": b"d",
        "forebay-key": b"k",
        "forebay-not-before": b"502",
        "traceparent": b"00-ab-cd-01",
    }


def test_what_was_encoded_is_decoded():
    post = JobPost(type="té", args=b"[1]", dedup="d", key="k", delay=2)
    job = record(*encode(post, id_="the-id", enqueued_at=500, headers=(TRACE,)))
    assert (job.topic, job.partition, job.offset) == ("jobs", 3, 42)
    assert (job.id, job.type, job.args, job.dedup, job.key) == ("the-id", "té", b"[1]", "d", "k")
    assert (job.enqueued_at, job.not_before, job.attempt, job.error) == (500, 2500, 0, None)
    assert job.headers == (TRACE,)


def test_a_job_without_delay_may_run_at_once():
    assert record(*encode(JobPost(type="t"), id_="i", enqueued_at=500)).not_before == 0


def test_clients_cannot_set_our_headers():
    with pytest.raises(ValueError, match="forebay-id"):
        encode(JobPost(type="t"), id_="i", enqueued_at=0, headers=(("forebay-id", b"x"),))


def test_a_job_put_back_keeps_its_identity_and_counts_its_attempts():
    job = record(*encode(JobPost(type="t", dedup="d"), id_="i", enqueued_at=5, headers=(TRACE,)))
    once = record(*encode_again(job, "it broke", not_before=9000))
    twice = record(*encode_again(once, "x" * 5000 + "\ud800", not_before=0))
    assert (once.attempt, once.error, once.not_before) == (1, "it broke", 9000)
    assert (twice.attempt, len(twice.error), twice.not_before) == (2, 1000, 0)
    for again in (once, twice):
        same = (again.id, again.type, again.args, again.dedup, again.enqueued_at, again.headers)
        assert same == (job.id, job.type, job.args, job.dedup, job.enqueued_at, job.headers)


def test_an_error_with_a_lone_surrogate_can_be_stored():
    job = record(b'{"type":"t"}')
    assert record(*encode_again(job, "bad \ud800", not_before=0)).error == r"bad \ud800"


def test_a_raw_record_is_a_job_document_whose_args_are_cut_out_unchanged():
    job = record(b' { "args" : { "a" : 1.0,"a":-0 } , "type":"t","id":"mine" }', (TRACE,))
    assert job.args == b'{ "a" : 1.0,"a":-0 }'
    assert (job.id, job.enqueued_at, job.headers) == ("mine", 1000, (TRACE,))


def test_a_raw_record_without_id_is_the_same_instance_when_it_is_read_again():
    assert record(b'{"type":"t"}').id == record(b'{"type":"t"}').id == "jobs/3/42"


def test_a_raw_record_put_back_keeps_the_id_of_its_first_place():
    topic = "t" * 249
    job = decode(topic, 9999, 2**60, 0, b'{"type":"t"}', ())
    again = decode("retry", 0, 0, 5, *encode_again(job, "e", 0))
    assert again.id == f"{topic}/9999/{2**60}"


def test_the_delay_of_a_raw_record_counts_from_the_records_own_time():
    assert record(b'{"type":"t","delay":2}', timestamp=1000).not_before == 3000
    assert record(b'{"type":"t","not_before":77}').not_before == 77


def test_a_raw_record_ignores_other_headers_of_ours():
    job = record(b'{"type":"t"}', (("forebay-attempt", b"3"), ("forebay-id", b"forged")))
    assert (job.attempt, job.id, job.headers) == (0, "jobs/3/42", ())


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"{}", b'{"type":1}', b"{" * 10_000])
def test_a_raw_record_that_is_no_job_says_what_it_should_be(value):
    with pytest.raises(Undecodable, match="is a job document"):
        record(value)


@pytest.mark.parametrize(
    "value",
    [
        rb'{"\ud800":1,"\ud800":2}',
        rb'{"type":"t","dedup":true,"args":{"\ud800":1,"\ud800":2}}',
        b'{"type":"t","dedup":true,"args":{"%b":1,"%b":2}}' % (b"x" * 5000, b"x" * 5000),
    ],
)
def test_the_reason_can_be_stored_whatever_the_record_holds(value):
    """Where the reason could not be stored, the record would stop its partition for ever (R6)."""
    with pytest.raises(Undecodable, match="is a job document") as caught:
        record(value)
    assert len(caught.value.reason.encode("utf-8")) <= 1000


@pytest.mark.parametrize(
    "bad",
    [
        ("forebay-type", b""),
        ("forebay-type", b"\xff"),
        ("forebay-id", b""),
        ("forebay-id", b"a\x00b"),
        ("forebay-id", b"x" * 301),
        ("forebay-dedup", b"x" * 201),
        ("forebay-not-before", b"-1"),
        ("forebay-not-before", b"1.5"),
        ("forebay-enqueued-at", b""),
        ("forebay-enqueued-at", b"9" * 15),
        ("forebay-attempt", b"9" * 5000),
        ("forebay-error", b"\xff"),
        ("forebay-shadow", b"0"),
    ],
)
def test_a_bad_header_is_undecodable_and_named(bad):
    headers = dict([("forebay-type", b"t"), bad])
    with pytest.raises(Undecodable, match=bad[0]):
        record(b"{}", tuple(headers.items()))


def test_a_header_of_ours_that_is_there_twice_is_undecodable():
    with pytest.raises(Undecodable, match="twice"):
        record(b"{}", (("forebay-type", b"a"), ("forebay-type", b"b")))


def test_headers_of_others_may_be_there_twice():
    headers = (("forebay-type", b"t"), TRACE, TRACE)
    assert record(b"{}", headers).headers == (TRACE, TRACE)


def test_a_shadow_is_stamped_on_the_record_and_stays():
    """R9: the relay obeys the record, so whoever posts decides."""
    value, headers = encode(JobPost(type="t", shadow=True), id_="i", enqueued_at=5)
    assert ("forebay-shadow", b"1") in headers
    job = record(value, headers)
    assert job.shadow
    assert record(*encode_again(job, "e", 0)).shadow
    assert record(b'{"type":"t","shadow":true}').shadow
    assert not record(*encode(JobPost(type="t"), id_="i", enqueued_at=5)).shadow
