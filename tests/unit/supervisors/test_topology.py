"""The tree of a runtime as it is planned: what the check of its stop counts (A2, S5)."""

from random import Random

import pytest

from forebay.actors.relay.messages import Term
from forebay.backends.clock import SystemClock
from forebay.backends.ports import Token
from forebay.config import from_mapping
from forebay.jobs import Registry
from forebay.supervisors.spec import InvalidTree, check_tree
from forebay.supervisors.stores import Stores
from forebay.supervisors.topology import Parts, topology

CLUSTERED = {
    "log": {"url": "kafka://kafka:9092"},
    "coordination": {"url": "consul://consul:8500"},
    "queues": {"main": {"url": "redis://redis:6379"}},
}


def plan(settings, folder):
    """The tree of a configuration, and the deadline of its stop."""
    config = from_mapping({"data": str(folder), **settings}, environ={})
    parts = Parts(
        config=config,
        stores=Stores(config, SystemClock(), Random(0)),
        registry=Registry(),
        instance="i",
        control_socket=folder / "control",
        tree=lambda: None,
        events=lambda: None,
    )
    return topology(parts), config.shutdown.deadline


def child(spec, child_id):
    return next(one for one in spec.children if one.id == child_id)


@pytest.mark.parametrize("settings", [{}, CLUSTERED], ids=["embedded", "clustered"])
def test_every_part_on_and_all_else_at_its_default_stops_within_the_deadline(settings, tmp_path):
    """S5."""
    tree, deadline = plan(settings, tmp_path)
    check_tree(tree, deadline=deadline)


def test_the_plan_of_a_relay_counts_the_term_that_its_lock_will_start(tmp_path, monkeypatch):
    """S5: a term is added at run time, and takes part in the stop."""
    monkeypatch.setattr(Stores, "queue", lambda *_: None)
    for name in ("log", "coordination"):
        monkeypatch.setattr(Stores, name, None, raising=False)
    tree, _ = plan({}, tmp_path)
    relay = child(child(tree, "relays").start, "relay[jobs]").start
    lock = child(relay, "topic_lock")
    term = lock.start()._term_spec(Term("jobs", 99, Token(3, 7), "session", "epoch"))
    assert relay.stop_time == lock.stop_time + term.stop_time
    assert term.stop_time > 0


def test_a_drain_that_leaves_the_rest_no_time_is_refused_with_what_takes_it(tmp_path):
    """S5."""
    tree, deadline = plan({"workers": {"drain": "20s"}}, tmp_path)
    with pytest.raises(InvalidTree, match="deadline is 30 s; most of it is workers with"):
        check_tree(tree, deadline=deadline)
