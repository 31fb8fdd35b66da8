"""Consul's refusals as our errors: what was certainly not done is told from what may have been (R2)."""

import pytest

from forebay.backends.consul.faults import refusal
from forebay.backends.errors import BackendError, SessionGone, Unavailable, UnknownOutcome


@pytest.mark.parametrize(
    ("method", "status", "text", "kind"),
    [
        ("PUT", 500, "No cluster leader", Unavailable),
        ("PUT", 500, "rpc error making call: No cluster leader", Unavailable),
        ("PUT", 500, "Missing node registration", Unavailable),
        ("PUT", 429, "Your IP is issuing too many concurrent connections, please rate limit your calls", Unavailable),
        ("PUT", 403, "Permission denied", Unavailable),
        ("PUT", 500, "rpc error making call: leadership lost while committing log", UnknownOutcome),
        ("DELETE", 500, "raft apply failed: timed out enqueuing operation", UnknownOutcome),
        ("PUT", 502, "", UnknownOutcome),
        ("GET", 500, "rpc error getting client: failed to get conn", Unavailable),
        ("PUT", 500, 'invalid session "adf4238a"', SessionGone),
        ("PUT", 404, "Session id 'adf4238a' not found", SessionGone),
        ("PUT", 413, "Request body too large", BackendError),
        ("PUT", 400, "Conflicting flags: ?acquire=a&release=b", BackendError),
    ],
)
def test_a_refusal_says_what_is_known(method, status, text, kind):
    error = refusal(method, status, text, "host:8500")
    assert type(error) is kind
    assert "host:8500" in str(error)
    assert text[:200] in str(error)


def test_a_long_page_of_a_proxy_is_cut():
    assert len(str(refusal("GET", 400, "<html>" * 1000, "host:8500"))) < 400
