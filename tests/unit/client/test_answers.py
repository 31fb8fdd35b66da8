"""What a gate's answers mean, and what is none (G3): never a false yes."""

import json

import pytest

from forebay.actors.problems import KINDS, Problem
from forebay.client import ProblemDetails, Receipt
from forebay.client.answers import kind_of, problem_of, receipt_of, results_of, retry_after, zone_of
from forebay.client.connection import Answer, Lost

RECEIPT = {"id": "a", "topic": "jobs", "partition": 1, "offset": 7, "durability": "disk"}
PROBLEM_JSON = {"content-type": "application/problem+json"}


def answer(status, document, **headers):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def gates_own(kind):
    response = Problem(kind, "found this; do that").response()
    return Answer(response.status_code, dict(response.headers), response.body)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_problem_of_a_gate_is_taken_as_the_page_on_http_says(kind):
    """docs/http.md, "What an answer means": 4xx and 503 were not accepted, 500 and 504 are not known."""
    expected = {503: "later", 408: "later", 500: "unknown", 504: "unknown"}.get(kind.status, "refused")
    assert kind_of(gates_own(kind)) == ("accepted" if kind.name == "batch-refused" else expected)
    assert problem_of(gates_own(kind)) == ProblemDetails(kind.uri, kind.title, kind.status, "found this; do that")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, "refused"),
        (404, "refused"),
        (413, "refused"),
        (429, "later"),
        (502, "unknown"),
        (503, "unknown"),
        (504, "unknown"),
    ],
)
def test_of_foreign_refusals_only_what_is_sure_counts_as_not_accepted(status, kind):
    """A proxy's 503 may stand for an answer that was lost behind it."""
    foreign = answer(status, b"<html>", content_type="text/html")
    assert kind_of(foreign) == kind
    assert problem_of(foreign) == ProblemDetails("about:blank", f"status {status}", status, "<html>")


def test_a_problem_body_that_is_none_is_shown_as_it_came():
    assert problem_of(answer(400, b"\xff{", content_type="application/problem+json")).detail == "\ufffd{"


def test_a_receipt_is_read():
    assert receipt_of(answer(202, {**RECEIPT, "news": 1}), "a") == Receipt("a", "jobs", 1, 7, "disk")


@pytest.mark.parametrize(
    "yes",
    [
        answer(200, RECEIPT),
        answer(202, RECEIPT | {"id": "b"}),
        answer(202, RECEIPT | {"offset": "7"}),
        answer(202, {"id": "a"}),
        answer(202, b""),
        answer(202, b"<html>accepted</html>"),
        answer(204, b""),
    ],
)
def test_a_yes_that_is_no_receipt_of_this_job_is_none(yes):
    assert kind_of(yes) == "accepted"
    with pytest.raises(Lost, match="no gate's answer"):
        receipt_of(yes, "a")


def test_a_batch_has_a_result_for_each_job_in_order():
    refusal = {"type": "urn:forebay:problem:invalid-job", "title": "no", "status": 422, "detail": "x", "field": "id"}
    results = {"results": [{"status": 202, **RECEIPT}, refusal]}
    assert results_of(answer(207, results), ("a", "b")) == [
        Receipt("a", "jobs", 1, 7, "disk"),
        ProblemDetails("urn:forebay:problem:invalid-job", "no", 422, "x", None, "id"),
    ]


@pytest.mark.parametrize(
    "yes",
    [
        answer(202, {"results": [{"status": 202, **RECEIPT}]}),
        answer(202, {"results": [{"status": 202, **RECEIPT}, {"status": 202, **RECEIPT}]}),
        answer(202, {"results": [{"status": 202, **RECEIPT}, {}]}),
        answer(202, {"accepted": 2}),
        answer(200, {"results": []}),
        answer(202, b"[]"),
    ],
)
def test_a_batch_answer_without_a_result_for_each_job_is_none(yes):
    with pytest.raises(Lost, match="no gate's answer"):
        results_of(yes, ("a", "b"))


@pytest.mark.parametrize("other", [answer(404, {}), answer(200, b"<html>"), answer(200, {"zone": 1}), answer(200, {})])
def test_what_is_no_gate_has_no_zone(other):
    with pytest.raises(Lost, match="GET /v1/gate was answered"):
        zone_of(other)


def test_a_gate_has_a_zone():
    assert zone_of(answer(200, {"zone": "b", "topics": []})) == "b"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("0", 0.0), ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0), ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0)]
    + [(nonsense, 0.0) for nonsense in ("", "-1", "soon", "1.5", "\u0663")],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after(answer(503, b"", retry_after=header), lambda: 60_000) == seconds


def test_without_retry_after_there_is_nothing_to_wait_for():
    assert retry_after(answer(503, b""), lambda: 0) == 0.0
