"""How the gates of a client are named, and what is said of those that name none (G7)."""

from pathlib import Path

import pytest

from forebay.client import Client
from forebay.client.address import Address, address, addresses


@pytest.mark.parametrize(
    ("url", "found", "authority"),
    [
        ("http://gate-a:8080", Address("http://gate-a:8080", "gate-a", 8080), "gate-a:8080"),
        ("http://127.0.0.1:8080/", Address("http://127.0.0.1:8080", "127.0.0.1", 8080), "127.0.0.1:8080"),
        ("http://[::1]:8080", Address("http://[::1]:8080", "::1", 8080), "[::1]:8080"),
        ("http://gate", Address("http://gate", "gate", 80), "gate"),
        ("unix:/a b/control.sock", Address("unix:/a b/control.sock", path=Path("/a b/control.sock")), "localhost"),
        ("unix:///a/c.sock", Address("unix:/a/c.sock", path=Path("/a/c.sock")), "localhost"),
    ],
)
def test_an_address_is_a_host_and_port_or_a_socket(url, found, authority):
    assert address(url) == found
    assert found.authority == authority


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "write http://host:port"),
        ("gate-a:8080", "write http://host:port"),
        ("http://", "write http://host:port"),
        ("http://:8080", "write http://host:port"),
        ("http://gate:80000", "write http://host:port"),
        ("http://gate:port", "write http://host:port"),
        ("http://[::1", "write http://host:port"),
        ("http://ga te:1", "write http://host:port"),
        ("ftp://gate:21", "write http://host:port"),
        ("https://gate:8080", "put http://"),
        ("http://gate:8080/v1/jobs", "write http://gate:8080"),
        ("http://me:secret@gate:8080", "write http://gate:8080"),
        ("http://gate:8080?topic=a", "write http://gate:8080"),
        ("unix:control.sock", "by its whole path"),
        ("unix:/", "by its whole path"),
        ("unix:", "by its whole path"),
    ],
)
def test_what_names_no_gate_is_refused_with_what_to_write(url, advice):
    with pytest.raises(ValueError, match=advice):
        Client(url)


def test_no_gate_and_the_same_gate_twice_are_refused():
    with pytest.raises(ValueError, match="no gate is named"):
        addresses([])
    with pytest.raises(ValueError, match="http://g:1 is named twice"):
        addresses(["http://g:1", "http://h:1", "http://g:1/"])
