"""Real services that a test may need: skip with advice where one is missing, fail where it was required.

FOREBAY_REQUIRE is a comma-separated list of services. A run that names one fails instead of skipping, so that CI cannot turn
green by losing a server.
"""

import os
from collections.abc import Mapping

import pytest

from forebay.scenarios.servers import KINDS, CannotGet, Program, find


def required(environ: Mapping[str, str] = os.environ) -> set[str]:
    """The services that FOREBAY_REQUIRE names; ValueError if one is not known here."""
    names = {n.strip() for n in environ.get("FOREBAY_REQUIRE", "").split(",") if n.strip()}
    if unknown := names - set(KINDS):
        raise ValueError(f"FOREBAY_REQUIRE names {sorted(unknown)}; known are {sorted(KINDS)}")
    return names


def require(name: str) -> Program:
    """Return the service's program; skip the test if it is not on this machine, or fail if it was required.

    Nothing is downloaded: a test run is no time for that.
    """
    try:
        program = find(name)
        missing = f"{name} is not on this machine; `forebay services get --only {name}` downloads it"
    except CannotGet as error:
        program, missing = None, str(error)
    if program is not None:
        return program
    if name in required():
        pytest.fail(f"{missing}; FOREBAY_REQUIRE names it", pytrace=False)
    pytest.skip(missing)
