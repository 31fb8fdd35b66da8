"""The choice among gates is pure: what it must hold for any standings (G7)."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from forebay.client.choice import MAX_REST, REST_BASE, REST_CAP, Standing, choose

ZONES = ("a", "b", "c")
standings = st.builds(
    Standing,
    near=st.booleans(),
    zone=st.sampled_from(ZONES),
    up=st.booleans(),
    failures=st.integers(0, 5),
)
gates = st.lists(st.tuples(standings, st.integers(0, 3)), max_size=6)
zones = st.sampled_from((None, *ZONES))
randoms = st.integers(0, 2**32).map(Random)


def chosen(known, zone, random):
    return choose([standing for standing, _ in known], [load for _, load in known], zone, random)


@given(gates, zones, randoms)
def test_a_gate_is_chosen_exactly_if_one_is_up_and_it_is_up(known, zone, random):
    index = chosen(known, zone, random)
    assert (index is None) == (not any(standing.up for standing, _ in known))
    assert index is None or known[index][0].up


@given(gates, zones, randoms)
def test_no_gate_that_is_up_and_trusted_is_nearer_than_the_chosen_one(known, zone, random):
    trusted = [standing.distance(zone) for standing, _ in known if standing.up and not standing.failures]
    index = chosen(known, zone, random)
    assert index is None or not trusted or known[index][0].distance(zone) <= min(trusted)


@given(gates, zones, randoms)
def test_a_busy_gate_on_trial_is_chosen_only_if_every_gate_is_one(known, zone, random):
    busy = [standing.failures > 0 and load > 0 for standing, load in known]
    index = chosen(known, zone, random)
    assert index is None or not busy[index] or all(busy[i] for i, (standing, _) in enumerate(known) if standing.up)


@given(gates, zones, randoms)
def test_of_gates_that_are_equally_good_none_with_less_load_is_passed_over(known, zone, random):
    index = chosen(known, zone, random)
    if index is not None:
        standing, load = known[index]
        alike = [n for s, n in known if s.up and s.distance(zone) == standing.distance(zone) and not s.failures]
        assert standing.failures or load == min(alike)


@given(standings, zones)
def test_the_nearest_are_on_this_host_and_without_a_zone_none_is_far(standing, zone):
    distance = standing.distance(zone)
    assert (distance == 0) == standing.near
    assert zone is not None or distance < 2
    assert distance < 2 or standing.zone != zone


@given(standings, st.floats(0, 1e9), st.floats(0, 1e9), randoms)
def test_a_rest_is_at_least_what_was_asked_for_and_bounded(standing, now, retry_after, random):
    """Retry-After is kept to; without one the rest is full jitter under a cap."""
    failed = standing.failing("why", now, random, retry_after)
    longest = min(REST_CAP, REST_BASE * 2**standing.failures)
    assert not failed.up
    assert failed.failures == standing.failures + 1
    assert now + min(retry_after, MAX_REST) <= failed.rests_until <= now + max(longest, min(retry_after, MAX_REST))


@given(standings, st.integers(1, 30), randoms)
def test_failures_in_a_row_are_forgotten_by_a_served_request_and_not_by_a_probe(standing, times, random):
    for _ in range(times):
        standing = standing.failing("why", 0.0, random).answering("b")
    assert standing.up
    assert standing.zone == "b"
    assert standing.failures >= times
    assert standing.serving() == Standing(standing.near, "b", up=True, rests_until=standing.rests_until)
