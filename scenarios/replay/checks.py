"""What must hold between the parts of a scenario: names that exist, times that lie within the phases."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import attrs

from forebay.actors import events
from forebay.config.nodes import Node
from forebay.config.problems import Problems
from forebay.config.structure import nearest
from forebay.scenarios.replay.amounts import Amount, Between, Fixed, OneOf
from forebay.scenarios.replay.counts import COUNTS
from forebay.scenarios.replay.invariants import CHECKS
from forebay.scenarios.replay.lists_checks import check_lists
from forebay.scenarios.replay.places import at, items, names_outside, text_at
from forebay.scenarios.replay.schema import LISTS, Expect, Fault, Invariants, Scenario
from forebay.scenarios.replay.sightings import SIGHTINGS
from forebay.scenarios.replay.verbs import VERBS

EVENTS: Final = {
    name: kind
    for name, kind in vars(events).items()
    if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
}
"""The kinds of events that a fault can wait for."""


def check(scenario: Scenario, node: Node, problems: Problems) -> None:
    """Report everything that does not fit together. What has a problem already has no second one."""
    _check_stores(scenario, node, problems)
    _check_hosts(scenario, node, problems)
    _check_names(scenario, node, problems)
    _check_posts(scenario, node, problems)
    seen: set[str] = set()
    places = items(node, "faults")
    for fault in scenario.faults:
        place = next((item for item in places if text_at(item, "id") == fault.id and item.path not in seen), node)
        seen.add(place.path)
        if not problems.at(place.path):
            _check_fault(scenario, fault, place, problems)
    _check_ids(scenario, places, problems)
    if scenario.design == LISTS:
        check_lists(scenario, node, problems)


def _check_stores(scenario: Scenario, node: Node, problems: Problems) -> None:
    """Only what servers hold is simulated."""
    topology = scenario.topology
    stores = [("log", topology.log.url, "kafka"), ("coordination", topology.coordination.url, "consul")]
    stores += [(f"queues.{name}", queue.url, "redis") for name, queue in topology.queues.items()]
    for key, url, scheme in stores:
        if url.embedded:
            place = at(node, "topology", *key.split("."), "url")
            want = f"write a {scheme}: URL, as in production; nothing is connected to"
            problems.add(f"topology.{key}.url", place.line, repr(str(url)), want)


def _check_hosts(scenario: Scenario, node: Node, problems: Problems) -> None:
    for index, host in enumerate(scenario.hosts):
        if host in scenario.hosts[:index]:
            place = at(node, "hosts", index)
            problems.add(place.path, place.line, f"a second host {host!r}", "give each host a name of its own")


def _check_names(scenario: Scenario, node: Node, problems: Problems) -> None:
    if scenario.invariants == Invariants() and scenario.expect == Expect() and not problems.found:
        want = "name what must hold, like {eventually: [nothing-lost]}: a run that checks nothing shows nothing"
        problems.add("invariants", node.line, "nothing that is to hold", want)
    if scenario.expect.recovery is not None and not scenario.invariants.eventually and not problems.at("invariants"):
        place = at(node, "expect", "recovery")
        problems.add(place.path, place.line, "a recovery of nothing", "name under invariants what is to hold eventually")
    for place, name, known in names_outside(scenario.invariants, node, CHECKS, SIGHTINGS):
        problems.add(place.path, place.line, f"{name!r}, which is not known", nearest(name, known))
    for group, names in attrs.asdict(scenario.invariants).items():
        for index, name in enumerate(names):
            if name in names[:index]:
                place = at(node, "invariants", group, index)
                problems.add(place.path, place.line, f"{name!r} a second time", "name it once")
    for name in scenario.expect.counts:
        if name not in COUNTS:
            place = at(node, "expect", "counts", name)
            problems.add(place.path, place.line, f"{name!r}, which is not counted", nearest(name, COUNTS))


def _check_posts(scenario: Scenario, node: Node, problems: Problems) -> None:
    topics, hosts = _known(scenario, "topic", problems), _known(scenario, "host", problems)
    for index, post in enumerate(scenario.workload):
        place = at(node, "workload", index)
        if post.topic and topics:
            _check_name(problems, at(place, "topic"), post.topic, topics)
        if post.host and hosts:
            _check_name(problems, at(place, "host"), post.host, hosts)
        if post.at + post.over > scenario.phases.chaos:
            want = "let at and over come to no more than phases.chaos"
            problems.add(place.path, place.line, "posts after the chaos", want)


def _check_fault(scenario: Scenario, fault: Fault, place: Node, problems: Problems) -> None:
    verb = VERBS[fault.do]
    if (fault.at is None) == (fault.when is None):
        problems.add(
            place.path, place.line, "not one of at and when", "give the time (at) or the event (when), and one of them"
        )
    if fault.lasts is not None and verb.end is None:
        inner = at(place, "lasts")
        problems.add(inner.path, inner.line, f"a duration of {fault.do}", "leave lasts out: this is over at once")
    if fault.at is not None and max(_values(fault.at)) > scenario.phases.chaos:
        inner = at(place, "at")
        problems.add(inner.path, inner.line, "a time after the chaos", "write a time within phases.chaos")
    _check_when(scenario, fault, place, problems)
    for name, amount in fault.args.items():
        known = _known(scenario, verb.args[name].names, problems)
        for value in _values(amount) if known else ():
            _check_name(problems, at(place, name), str(value), known)
    if {"topic", "partition"} <= fault.args.keys() and not problems.at(place.path):
        _check_partition(scenario, fault, at(place, "partition"), problems)


def _check_partition(scenario: Scenario, fault: Fault, place: Node, problems: Problems) -> None:
    topics = set(_values(fault.args["topic"]))
    least = min(topic.partitions for topic in scenario.topology.topics if topic.name in topics)
    if max(_values(fault.args["partition"])) >= least:
        problems.add(place.path, place.line, "a partition that is not there", f"write one from 0 to {least - 1}")


def _check_when(scenario: Scenario, fault: Fault, place: Node, problems: Problems) -> None:
    """What waits for an event that cannot be, never comes."""
    inner, when = at(place, "when"), fault.when
    if when is None:
        if fault.after != Fixed(0.0):
            after = at(place, "after")
            problems.add(after.path, after.line, "a time after no event", "give the event (when), or add it to at")
        return
    _check_name(problems, at(inner, "event"), when.event, EVENTS)
    if when.name is not None and when.event != "Noted":
        name = at(inner, "name")
        problems.add(name.path, name.line, f"the name of a {when.event}", "leave name out: only what is Noted has one")
    hosts = _known(scenario, "host", problems)
    if when.host is not None and hosts:
        _check_name(problems, at(inner, "host"), when.host, hosts)


def _check_ids(scenario: Scenario, places: list[Node], problems: Problems) -> None:
    ids = [fault.id for fault in scenario.faults]
    for place in places:
        id_ = text_at(place, "id")
        if ids.count(str(id_)) > 1 and next(p for p in places if text_at(p, "id") == id_) is not place:
            inner = at(place, "id")
            problems.add(inner.path, inner.line, f"a second fault {id_!r}", "give each fault an id of its own")


def _known(scenario: Scenario, what: str, problems: Problems) -> list[str]:
    """What may be named; nothing where that is not known, since it could not be read."""
    if problems.at("hosts" if what == "host" else "kafka"):
        return []
    topology = scenario.topology
    names: dict[str, Iterable[str]] = {
        "host": scenario.hosts,
        "topic": (topic.name for topic in topology.topics),
        "queue": topology.queues,
        "broker": map(str, range(1, scenario.kafka.brokers + 1)),
        "zone": scenario.kafka.zone_names,
    }
    return list(names.get(what, ()))


def _check_name(problems: Problems, place: Node, found: str, known: Collection[str]) -> None:
    if found not in known:
        problems.add(place.path, place.line, f"{found!r}, which is not there", nearest(found, known))


def _values(amount: Amount[Any]) -> Iterator[Any]:
    match amount:
        case Fixed(value):
            yield value
        case Between(low, high):
            yield from (low, high)
        case OneOf(values):
            yield from values
