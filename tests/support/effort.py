"""How hard to try: `make test-long` sets FOREBAY_LONG=1 and gets the full-size runs."""

import os

from hypothesis import HealthCheck, settings

LONG = os.environ.get("FOREBAY_LONG") == "1"


def examples(usual: int, long: int) -> int:
    """How many examples a property is given, where its promise names the two numbers."""
    return long if LONG else usual


def load_hypothesis_profile() -> None:
    """Choose hypothesis' profile for this run.

    `default` is derandomised: the same commit gets the same verdict here and in CI, at any time.
    `long` draws anew on each run, and a failure prints what reproduces it; new ground is explored
    there, not in somebody's pull request. Neither has a deadline or minds slow generation: both
    would measure the machine's other tenants.
    """
    unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("default", unhurried, derandomize=True)
    settings.register_profile("long", unhurried, derandomize=False, max_examples=500, print_blob=True)
    settings.load_profile("long" if LONG else "default")
