"""The tree of a runtime as it is planned: what the check of its stop counts (A2, S5)."""

from random import Random

import pytest

from forebay.actors.relay.messages import Term
from forebay.backends.clock import SystemClock
from forebay.backends.ports import Token
from forebay.config import ConfigError, from_mapping
from forebay.jobs import Registry
from forebay.supervisors.job_runtime import JobRuntime
from forebay.supervisors.spec import check_tree
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


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"workers": {"drain": "20s"}}, "30s, and an orderly stop may take 39.6 s, 20 s of them for workers.drain"),
        ({"workers": False, "shutdown": {"deadline": "5s"}}, "5s, and an orderly stop may take 12 s"),
    ],
)
def test_a_stop_that_may_take_longer_than_its_deadline_is_refused_by_the_names_of_the_options(settings, found, tmp_path):
    """S5."""
    with pytest.raises(ConfigError) as refused:
        JobRuntime(from_mapping({"data": str(tmp_path), **settings}))
    (problem,) = refused.value.problems
    assert (problem.key, problem.found) == ("shutdown.deadline", found)
    assert "s or more" in problem.want
