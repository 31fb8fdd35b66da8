"""The coordination's URL for Consul: what it may hold, and that its token is not shown."""

import pytest

from forebay.backends.consul import ConsulCoordination
from forebay.backends.consul.address import Address, parse


@pytest.mark.parametrize(
    ("url", "address", "base"),
    [
        ("consul://10.0.0.1:8501", Address("10.0.0.1", 8501), "http://10.0.0.1:8501"),
        ("consul://consul", Address("consul", 8500), "http://consul:8500"),
        ("consul://@consul", Address("consul", 8500), "http://consul:8500"),
        ("consul://[::1]:8500", Address("::1", 8500), "http://[::1]:8500"),
        ("consul://s%40me@c:1?dc=west-1", Address("c", 1, "s@me", "west-1"), "http://c:1"),
    ],
)
def test_a_url_names_host_port_token_and_data_centre(url, address, base):
    assert parse(url) == address
    assert parse(url).base == base


@pytest.mark.parametrize(
    "url",
    [
        "consul:",
        "consul://",
        "http://secret@host",
        "consul://secret@host/path",
        "consul://user:secret@host",
        "consul://secret@host?dc=",
        "consul://secret@host?tls=1",
        "consul://secret@host?dc",
        "consul://secret@host#f",
        "consul://secret@host:99999",
    ],
)
def test_another_form_is_refused_without_showing_a_secret(url):
    with pytest.raises(ValueError) as refused:
        ConsulCoordination(url)
    assert "secret" not in str(refused.value)
    assert "consul://TOKEN@host:8500?dc=NAME" in str(refused.value)


def test_a_token_is_not_shown():
    assert "secret" not in repr(parse("consul://secret@host")) + parse("consul://secret@host").where
