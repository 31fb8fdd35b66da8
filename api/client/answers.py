"""What a gate's answers mean (docs/http.md). Nothing is a yes that does not look like one in every respect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Final, Literal

import msgspec
from attrs import frozen

from forebay.client.connection import Answer, Lost
from forebay.client.errors import ProblemDetails

BATCH_REFUSED: Final = "urn:forebay:problem:batch-refused"
_REFUSED_FOR_NOW: Final = ("urn:forebay:problem:overloaded", "urn:forebay:problem:unavailable")
_SHOWN: Final = 200
"""Characters of a foreign answer that an error shows."""

Kind = Literal["accepted", "refused", "later", "unknown"]


@frozen
class Receipt:
    """Where an accepted job is in the log. `durability` is what the answer was worth: `disk`, `leader` or `all`."""

    id: str
    topic: str
    partition: int
    offset: int
    durability: str


@frozen
class _Gate:
    zone: str


@frozen
class _Results:
    results: list[msgspec.Raw]


@frozen
class _Result:
    status: int


def kind_of(answer: Answer) -> Kind:
    """Whether the request was accepted (or has results), refused for good, refused for now, or nobody knows.

    A 503 is the word of a gate only with a gate's problem type: that of a proxy may stand for an answer that was lost.
    """
    if 200 <= answer.status < 300:
        return "accepted"
    problem = problem_of(answer)
    if answer.status in (408, 429) or (answer.status == 503 and problem.type in _REFUSED_FOR_NOW):
        return "later"
    if answer.status >= 500:
        return "unknown"
    return "accepted" if problem.type == BATCH_REFUSED else "refused"


def zone_of(answer: Answer) -> str:
    """The zone in the answer to `GET /v1/gate`. Raises `Lost`."""
    if answer.status != 200:
        raise Lost(f"GET /v1/gate was answered {described(answer)}")
    try:
        return msgspec.json.decode(answer.body, type=_Gate).zone
    except msgspec.DecodeError as error:
        raise Lost(f"GET /v1/gate was answered by something that is no gate: {error}") from error


def receipt_of(answer: Answer, id_: str) -> Receipt:
    """The receipt of the one job that was posted. Raises `Lost` for a yes that is none."""
    if answer.status != 202:
        raise _no_answer(answer, "status 202 was expected")
    try:
        return _receipt(answer.body, id_)
    except msgspec.DecodeError as error:
        raise _no_answer(answer, str(error)) from error


def results_of(answer: Answer, ids: Sequence[str]) -> list[Receipt | ProblemDetails]:
    """The result of each job of a batch, in order. Raises `Lost` for an answer that does not have them."""
    if answer.status not in (202, 207, 422):
        raise _no_answer(answer, "status 202, 207 or 422 was expected")
    try:
        found = msgspec.json.decode(answer.body, type=_Results).results
        if len(found) != len(ids):
            raise _no_answer(answer, f"{len(found)} results for {len(ids)} jobs")
        return [_result(raw, id_) for raw, id_ in zip(found, ids, strict=True)]
    except msgspec.DecodeError as error:
        raise _no_answer(answer, str(error)) from error


def problem_of(answer: Answer) -> ProblemDetails:
    """The problem in an answer that says no; of one that has no problem body, what can be said of it."""
    if answer.headers.get("content-type", "").partition(";")[0] == "application/problem+json":
        try:
            return msgspec.json.decode(answer.body, type=ProblemDetails)
        except msgspec.DecodeError:
            pass  # then it is as any foreign answer
    text = answer.body[:_SHOWN].decode("utf-8", "replace")
    return ProblemDetails(title=f"status {answer.status}", status=answer.status, detail=text or "(an empty body)")


def described(answer: Answer) -> str:
    """An answer in a few words."""
    problem = problem_of(answer)
    return f"{answer.status}: {problem.detail}"


def retry_after(answer: Answer, wall: Callable[[], int]) -> float:
    """Seconds that the answer asks to wait, 0 if it does not. `wall` is Unix time in ms, for a date."""
    text = answer.headers.get("retry-after", "0")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall() / 1000)
    except ValueError:
        return 0.0


def _result(raw: msgspec.Raw, id_: str) -> Receipt | ProblemDetails:
    if msgspec.json.decode(raw, type=_Result).status == 202:
        return _receipt(raw, id_)
    return msgspec.json.decode(raw, type=ProblemDetails)


def _receipt(text: bytes | msgspec.Raw, id_: str) -> Receipt:
    receipt = msgspec.json.decode(text, type=Receipt)
    if receipt.id != id_:
        raise msgspec.DecodeError(f"it speaks of job {receipt.id!r}, and {id_!r} was posted")
    return receipt


def _no_answer(answer: Answer, why: str) -> Lost:
    text = answer.body[:_SHOWN].decode("utf-8", "replace")
    return Lost(f"answered {answer.status} with something that is no gate's answer ({why}): {text}")
