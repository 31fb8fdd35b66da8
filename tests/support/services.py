"""Real services that a test may need: skip with advice where one is missing, fail where it was
required.

FOREBAY_REQUIRE is a comma-separated list of services. A run that names one fails instead of
skipping, so that CI cannot turn green by losing a server.
"""

import os
import shutil
from collections.abc import Mapping

import pytest
from attrs import frozen


@frozen
class Service:
    """A program that tests start themselves, and how to get it."""

    program: str
    advice: str


SERVICES: Mapping[str, Service] = {
    "redis": Service("redis-server", "apt-get install redis-server, or brew install redis"),
    "consul": Service("consul", "unpack Debian bullseye's consul package, or brew install consul"),
}


def required(environ: Mapping[str, str] = os.environ) -> set[str]:
    """The services that FOREBAY_REQUIRE names; ValueError if one is not known here."""
    names = {n.strip() for n in environ.get("FOREBAY_REQUIRE", "").split(",") if n.strip()}
    if unknown := names - SERVICES.keys():
        raise ValueError(f"FOREBAY_REQUIRE names {sorted(unknown)}; known are {sorted(SERVICES)}")
    return names


def require(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the path of the service's program; skip the test if it is missing, or fail if it was
    required.
    """
    service = SERVICES[name]
    found = shutil.which(service.program, path=environ.get("PATH"))
    if found is not None:
        return found
    missing = f"{name}: no {service.program} on PATH ({service.advice})"
    if name in required(environ):
        pytest.fail(f"{missing}; FOREBAY_REQUIRE names it", pytrace=False)
    pytest.skip(missing)
